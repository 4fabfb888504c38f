"""Cross-entropy of logits with an offset for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.core.tensors.constants import row
from autoloss.losses._labels import class_labels


class LogitAdjusted(Loss):
    """``-log softmax(z + tau log pi + offsets)_target``: logits [B, C, ...] and classes [B, ...] -> [B].

    pi are the frequencies of the classes. A frequent class gets a head start in training that it does not have at
    test time, where the plain logits count: with tau = 1 these estimate the classes as if all were equally frequent.
    Offsets of one's own add to that, or stand alone. Without either it is cross-entropy.

    Args:
        priors: pi, a number above 0 for each class: frequencies or counts, only their proportions matter.
        tau: how strongly the priors count, at least 0.
        offsets: a number for each class, in units of logits; only their differences matter.
        ignore_index: a label that is left out; none by default.

    AutoBalance learns such offsets from held-out data, and factors of the logits too, which are left out here.
    """

    takes = ("classes", "pixels")
    search_space = {"tau": Interval(0.0, 2.0)}
    use = "Rare classes count as much as frequent ones (balanced accuracy), and all should be told apart well."
    avoid = "Test data are as imbalanced as training data, and plain accuracy counts."
    outliers = "As in cross-entropy; a wrong label of a rare class costs more."
    imbalance = "It removes the prior of the classes from the logits."
    gradients = "Predicted minus true probability, of the shifted logits: rare classes have larger ones."
    citation = "Menon et al.: Long-tail learning via logit adjustment, ICLR 2021, arXiv:2007.07314"

    def __init__(
        self,
        priors: Sequence[float] = (),
        tau: float = 1.0,
        offsets: Sequence[float] = (),
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        require(all(p > 0 for p in priors), "`priors` must be above 0", f"priors={list(priors)}")
        require(tau >= 0, "`tau` must be at least 0", f"tau={tau}")
        both = not len(priors) or not len(offsets) or len(priors) == len(offsets)
        found = f"there are {len(offsets)} and {len(priors)}"
        require(both, "`offsets` and `priors` must have a number for each class", found)
        self.priors, self.tau, self.ignore_index = tuple(priors), tau, ignore_index
        self.offsets: Sequence[float | Tensor] | Tensor = tuple(offsets)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        target, keep = class_labels(self, prediction, target, self.ignore_index)
        shifts = [self._row("offsets", self.offsets, prediction)]
        if self.priors:
            logs = [p.log() if isinstance(p, Tensor) else math.log(p) for p in self.priors]
            shifts.append(self.tau * self._row("priors", logs, prediction))
        for shift in shifts:
            prediction = prediction + shift.view(-1, *[1] * (prediction.dim() - 2))
        return per_sample(functional.cross_entropy(prediction, target, reduction="none"), keep)

    def _row(self, name: str, numbers: Sequence[float | Tensor] | Tensor, like: Tensor) -> Tensor:
        """``numbers`` as a tensor [C] in the dtype and on the device of ``like`` [B, C, ...]; 0 if there are none."""
        if not len(numbers):
            return like.new_zeros(like.shape[1])
        found = f"there are {len(numbers)} for {like.shape[1]} classes"
        require(len(numbers) == like.shape[1], f"`{name}` must have a number for each class", found)
        return row(numbers, like)

"""Cross-entropy in both directions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import class_labels


class SymmetricCrossEntropy(Loss):
    """``-alpha log p_t - beta A (1 - p_t)``: logits [B, C, ...] and classes [B, ...] -> [B].

    The second term is the cross-entropy of the label from the prediction, ``-sum_c p_c log y_c``, where y is 0 or 1
    and log 0 is taken as A.

    Args:
        alpha: factor of cross-entropy, at least 0: it fits.
        beta: factor of the reverse, at least 0: it tolerates wrong labels.
        log_zero: A, below 0. Only its product with beta counts.
        ignore_index: a label that is left out; none by default.

    The authors' code takes the logarithm of 0 as that of 1e-4, which is -9.2, where the paper has -4.
    """

    takes = ("classes", "pixels")
    search_space = {
        "alpha": Interval(0.01, 10.0, log=True),
        "beta": Interval(0.1, 10.0, log=True),
        "log_zero": Interval(-10.0, -1.0),
    }
    use = "One class of several with wrong labels, and the rarer or harder classes should still be learned."
    avoid = "Labels are clean (cross_entropy); predicted probabilities should be calibrated."
    outliers = "A wrong label costs without bound by alpha, and at most -A beta by beta."
    imbalance = "As in cross-entropy by alpha; the reverse part counts a class by how well it is known."
    gradients = "Those of cross-entropy times alpha - beta A p_t: they grow with the network's trust in the label."
    citation = "Wang et al.: Symmetric cross entropy, ICCV 2019, arXiv:1908.06112"

    def __init__(
        self, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0, ignore_index: int | None = None
    ) -> None:
        super().__init__()
        found = f"alpha={alpha}, beta={beta}"
        good = alpha >= 0 and beta >= 0 and alpha + beta > 0
        require(good, "`alpha` and `beta` must be at least 0, and at least one above 0", found)
        require(log_zero < 0, "`log_zero` must be below 0", f"log_zero={log_zero}")
        self.alpha, self.beta, self.log_zero, self.ignore_index = alpha, beta, log_zero, ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        target, keep = class_labels(self, prediction, target, self.ignore_index)
        entropy = functional.cross_entropy(prediction, target, reduction="none")
        missed = -(-entropy).expm1()
        return per_sample(self.alpha * entropy - self.beta * self.log_zero * missed, keep)

"""Several losses of one prediction and target, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import require, unknown
from autoloss.core.loss import TAKES, Loss
from autoloss.core.schedules.progressive import build
from autoloss.core.tensors.presence import marked, presence

RULES = ("average", "product")


class Combined(Loss):
    """``sum_i w_i l_i / sum_i w_i``, or ``prod_i l_i``, of several losses of the same prediction and target -> [B].

    The losses are combined sample by sample, before any mean; a part that a sample has no label for is left out.
    On the command line ``losses.TERM=[cross_entropy,dice]`` makes this loss, ``losses.TERM.rule=product`` and
    ``losses.TERM.weights=[1,0.5]`` set its parameters, and a part with parameters is written as
    ``[cross_entropy,{focal:{gamma:linear(0,2)}}]``. In an experiment's YAML write
    ``override /loss@losses.TERM: combined`` and ``losses.TERM.losses``. Losses that should be *balanced* are terms
    of their own.

    Args:
        losses: names, ``{name: parameters}``, or losses.
        rule: ``average`` or ``product`` (of losses that are at least 0).
        weights: one number of at least 0 for each loss, or a schedule (``average``); all 1 if there
            are none. Only their proportions matter: the average does not grow with them.

    >>> Combined(["mse", "mae"], weights=[3, 1])(torch.tensor([2.0]), torch.tensor([0.0]))
    tensor([3.5000])
    """

    takes: tuple[str, ...] = ()
    widened = False  # each part decides
    use = "A region loss that needs help at the start (cross_entropy and dice), a regulariser of the same output."
    avoid = "You do not know the proportion: make two terms, and let a weighting find it."
    outliers = "As in its parts; a product is small where any part is small."
    imbalance = "As in its parts."
    gradients = "The weighted mean of its parts' gradients; in a product, each one's times the others' values."
    citation = "folklore"

    def __init__(
        self,
        losses: Sequence[str | Mapping[str, Any] | Sequence[Any] | Loss],
        rule: str = "average",
        weights: Sequence[float] = (),
    ) -> None:
        super().__init__()
        require(len(losses) > 0, "A combined loss must have losses", "it has none")
        if rule not in RULES:
            raise unknown("rule of combined losses", rule, RULES)
        shown = f"weights={list(weights)}"
        fit = not len(weights) or len(weights) == len(losses)
        require(fit, "`weights` must have a number for each loss", f"{shown} for {len(losses)}")
        good = not len(weights) or (all(w >= 0 for w in weights) and any(w > 0 for w in weights))
        require(good, "`weights` must be at least 0, and at least one above 0", shown)
        require(not len(weights) or rule == "average", "`weights` belong to rule=average", f"rule={rule!r} has {shown}")
        made: list[Loss] = [build("loss", one) for one in losses]
        self.parts = nn.ModuleList(made)
        self.rule, self.weights = rule, tuple(weights)
        common = [kind for kind in TAKES if all(kind in part.takes for part in made)]
        self.takes = tuple(common) or made[0].takes
        self.paired = any(part.paired for part in made)
        ignored = {part.ignore_index for part in made}
        self.ignore_index = ignored.pop() if len(ignored) == 1 else None

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self._combine([part(prediction, target) for part in self.parts])

    def masked(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        return self._combine([part.masked(prediction, target, mask) for part in self.parts])  # type: ignore[operator]

    def _combine(self, values: list[Tensor]) -> Tensor:
        weights = self.weights or (1.0,) * len(values)
        total = sum(weights)
        require(total > 0, "The weights of combined losses must not all be 0", f"weights={list(weights)}")
        known = [presence(value) for value in values]
        if any(one is not None for one in known):
            everyone = torch.ones_like(values[0], dtype=torch.bool)
            here = torch.stack([everyone if one is None else one for one in known])
            return self._of_present(torch.stack(values), here, weights)
        if self.rule == "product":
            return torch.stack(values).prod(0)
        return torch.stack([weight / total * value for weight, value in zip(weights, values, strict=True)]).sum(0)

    def _of_present(self, values: Tensor, here: Tensor, weights: Sequence[float]) -> Tensor:
        """``values`` [L, B] combined over the losses that are ``here`` [L, B]."""
        if self.rule == "product":
            return marked(torch.where(here, values, 1.0).prod(0), here.any(0))
        shares = torch.stack([weight * one for weight, one in zip(weights, here.to(values.dtype), strict=True)])
        total = shares.sum(0)
        return marked((shares * values).sum(0) / total.where(total > 0, 1.0), total > 0)

"""The smoothed largest loss (STCH)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class SmoothTchebycheff(Scalarization):
    """Minimises a smooth maximum of the losses: ``S = mu log sum_k exp(a_k (L_k - z_k) / mu)``.

    ``w_k = a_k softmax_k(a_k (L_k - z_k) / mu)``; mu to 0 gives :class:`Tchebycheff`, and S exceeds
    the maximum by at most ``mu log K``. The weights sum to at most max a: to 1 by default.

    With ``log`` it is the form of the authors' multi-task code, which needs no common scale:
    ``S = K mu log sum_k (L_k / nadir_k)^(a_k / mu)``, ``w_k = K a_k softmax_k(...) / L_k``. The nadir
    is the mean of a loss's first ``warmup`` values; until then each value counts as the nadir (if so for
    all losses, ``w_k = 1 / L_k``). The authors take the mean of the last of 4 warm-up epochs.

    Args:
        mu: smoothing, above 0; in units of the weighted loss, without a unit if ``log``.
        preference: a by loss name, each at least 0; a loss that is not named has 1. The
            paper's lie on the simplex: 1/K each there is mu K with 1 each here.
        ideal: z by loss name, a lower bound of the loss, 0 if not named; not used if ``log``.
        log: whether to take logarithms relative to nadirs.
        warmup: how many values of a loss make its nadir, at least 1.
    """

    preference: Tensor
    ideal: Tensor
    nadir: Tensor
    seen: Tensor
    claims = frozenset({"permutation_equivariant"})
    search_space = {"mu": Interval(0.01, 1.0, log=True)}
    use = "The worst losses should count most, and the others should still learn."
    avoid = "Losses have different scales, and neither `log` nor a preference makes up for it."
    citation = (
        "Lin et al.: Smooth Tchebycheff scalarization for multi-objective optimization, ICML 2024, arXiv:2402.19078"
    )

    def __init__(
        self,
        mu: float = 1.0,
        preference: Mapping[str, float] = {},
        ideal: Mapping[str, float] = {},
        log: bool = False,
        warmup: int = 100,
    ) -> None:
        super().__init__()
        require(mu > 0, "`mu` must be above 0", f"mu={mu}")
        require(warmup >= 1, "`warmup` must be at least 1", f"warmup={warmup}")
        for name, weight in preference.items():
            check_weight(f"preference.{name}", weight)
        for name, value in ideal.items():
            require(math.isfinite(value), "An ideal value must be finite", f"ideal.{name}={value}")
        self.mu, self.log, self.warmup = mu, log, warmup
        self.given, self.given_ideal = dict(preference), dict(ideal)
        self.positive = log  # type: ignore[misc]

    def allocate(self, size: int) -> None:
        self.register_buffer("preference", self.per_loss(self.given), persistent=False)
        self.register_buffer("ideal", self.per_loss(self.given_ideal, missing=0.0), persistent=False)
        if self.log:
            self.add_state("nadir", torch.zeros(size), axes=1)
            self.add_state("seen", torch.zeros(size), axes=1)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        height = self._log_ratio(values) if self.log else values - self.ideal
        weighted = (self.preference * height / self.mu).masked_fill(~signals.present, -math.inf)
        return (signals.count if self.log else 1) * self.mu * weighted.logsumexp(0)

    def update(self, signals: Signals) -> None:
        if self.log:
            mean = self.nadir + (signals.values - self.nadir) / (self.seen + 1)
            self.nadir.copy_(torch.where(self.seen < self.warmup, mean, self.nadir))
            self.seen.copy_((self.seen + 1).clamp(max=self.warmup))

    def _log_ratio(self, values: Tensor) -> Tensor:
        nadir = torch.where(self.seen < self.warmup, values.detach(), self.nadir)
        return values.clamp(min=1e-20).log() - nadir.clamp(min=1e-20).log()

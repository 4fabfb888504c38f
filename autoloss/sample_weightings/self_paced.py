"""Self-paced learning."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.samples import Samples
from autoloss.core.schedules.schedule import parse_schedule, varies
from autoloss.core.space import Choice
from autoloss.sample_weightings._level import Levelled

FORMS = ("hard", "linear", "logarithmic", "mixture", "logistic", "polynomial")


class SelfPaced(Levelled):
    """Weighs easy samples first, by their own loss: ``min_v sum_i v_i l_i + f(v; lambda)`` solved for v.

    - ``hard``: ``v = 1[l < lambda]`` (Kumar et al., eq. 4)
    - ``linear``: ``v = max(0, 1 - l / lambda)``
    - ``logarithmic``: ``v = log(l + z) / log z``, ``z = 1 - lambda``, 0 from lambda on. It is defined for lambda < 1:
      for larger ones losses are measured in units of ``lambda / 0.99``
    - ``mixture``: 1 up to ``a = mix lambda``, then ``z (1 / l - 1 / lambda)`` with ``z = a lambda / (lambda - a)``,
      0 from lambda on
    - ``logistic``: ``v = (1 + e^-lambda) / (1 + e^(l - lambda))``, above 0 everywhere
    - ``polynomial``: ``v = (1 - l / lambda)^(1 / (power - 1))``, 0 from lambda on

    Lambda is the moving quantile of the losses below which the share ``keep`` of the samples lies; or ``threshold``
    itself. With ``keep`` 1 all weights are 1. Losses below 0 count as 0.

    Args:
        form: one of the above.
        keep: share of the samples in (0, 1], a number or a schedule of progress.
        threshold: lambda, above 0, a number or a schedule; ``keep`` is not used then.
        burn_in: epochs at the beginning with uniform weights: an untrained network does not show what is easy.
        decay: of the quantile's moving average over steps, in [0, 1).
        mix: in (0, 1), for ``mixture``.
        power: above 1, for ``polynomial``.
    """

    claims = frozenset({"non_increasing", "at_most_one"})
    search_space = {
        "form": Choice(FORMS),
        "keep": Choice((0.5, 0.7, 0.9, "linear(0.5,1,0,0.8)", "linear(1,0.6,0,0.2)")),
    }
    use = "A curriculum without knowing what is difficult; noisy labels, with a `keep` that stays below 1."
    avoid = "Classes differ in difficulty: easy ones are learned first, and in the worst case alone."
    citation = (
        "Kumar, Packer, Koller: Self-paced learning for latent variable models, NeurIPS 2010; "
        "soft forms: Jiang, Meng, Mitamura, Hauptmann: Easy samples first, ACM Multimedia 2014"
    )

    def __init__(
        self,
        form: str = "hard",
        keep: float | str = "linear(0.5,1,0,0.8)",
        threshold: float | str | None = None,
        burn_in: int = 1,
        decay: float = 0.9,
        mix: float = 0.5,
        power: float = 2.0,
    ) -> None:
        super().__init__(decay)
        if form not in FORMS:
            raise unknown("form of self-paced learning", form, FORMS)
        require(burn_in >= 0, "`burn_in` must be at least 0", f"burn_in={burn_in}")
        require(0 < mix < 1, "`mix` must lie in (0, 1)", f"mix={mix}")
        require(power > 1, "`power` must be above 1", f"power={power}")
        self.form, self.burn_in, self.mix, self.power = form, burn_in, mix, power
        self.keep = parse_schedule(keep)
        kept = [self.keep(i / 100) for i in range(101)]
        require(min(kept) > 0 and max(kept) <= 1, "`keep` must lie in (0, 1]", f"keep={keep}")
        self.threshold = None if threshold is None else parse_schedule(threshold)
        paced = self.threshold or self.keep
        follows = {"progress": varies(paced), "epoch": burn_in > 0}
        self.follows = frozenset(of for of, does in follows.items() if does)
        lowest = min(self.threshold(i / 100) for i in range(101)) if self.threshold else 1.0
        require(lowest > 0, "`threshold` must be above 0", f"threshold={threshold}")

    def now(self, samples: Samples) -> Tensor:
        return samples.quantile(self.keep(samples.progress))

    def forward(self, samples: Samples) -> Tensor:
        losses = samples.losses.clamp(min=0)
        if samples.epoch < self.burn_in:
            return torch.ones_like(losses)
        if self.threshold is not None:
            return self.weigh(losses, losses.new_zeros(()) + self.threshold(samples.progress))
        if self.keep(samples.progress) >= 1:
            return torch.ones_like(losses)
        # Slightly above the quantile: the sample whose loss is the quantile belongs to the share that is kept.
        level = self.level(samples).clamp(min=0)
        return self.weigh(losses, level * 1.0001 + 1e-12)

    def weigh(self, losses: Tensor, level: Tensor) -> Tensor:
        """The weights of ``losses`` [B], at least 0, for lambda ``level``, a scalar tensor above 0."""
        ratio = losses / level
        if self.form == "hard":
            return (losses < level).float()
        if self.form == "linear":
            return (1 - ratio).clamp(min=0)
        if self.form == "logarithmic":
            bounded = level.clamp(max=0.99)
            rest = 1 - bounded
            return ((ratio.clamp(max=1) * bounded + rest).log() / torch.log1p(-bounded)).clamp(0, 1)
        if self.form == "mixture":
            # In units of lambda: z (1 / l - 1 / lambda) = mix / (1 - mix) (lambda / l - 1).
            return (self.mix / (1 - self.mix) * (1 / ratio.clamp(min=1e-30) - 1)).clamp(0, 1)
        if self.form == "logistic":
            # (1 + e^-x) / (1 + e^(l-x)) = sigmoid(x - l) / sigmoid(x), which cannot overflow.
            return torch.sigmoid(level - losses) / torch.sigmoid(level)
        return (1 - ratio).clamp(min=0) ** (1 / (self.power - 1))

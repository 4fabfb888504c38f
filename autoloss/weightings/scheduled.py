"""Weights that follow a schedule."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autoloss.core.constants import constant
from autoloss.core.curves import read_curves
from autoloss.core.errors import require
from autoloss.core.schedule import Schedule, parse_schedule
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Scheduled(Weighting):
    """Gives each loss a weight that is a function of progress, from 0 at the start to 1 at the end.

    Args:
        schedules: by loss name, a number or one of ``constant(w)``, ``linear(from,to)``,
            ``cosine(from,to)``, ``step(from,to,at)``, ``cyclical(low,high,cycles,rise)`` and
            ``warmup(to,until)``; a loss that is not named has the weight 1.
        load: a file of curves, which ``autoloss distill`` writes from a run; one for each loss. What
            ``schedules`` names comes before it.

    ``linear``, ``cosine`` and ``warmup`` take further arguments for where they begin and end.
    Progress needs the length of training: Trainer flags give it, ``Balancer`` takes ``total_steps``.
    """

    use = "A KL term that is warmed up, an auxiliary loss that fades; the weights of another run, at no cost."
    avoid = "The right moment is not known: let a dynamic weighting find it."
    citation = "cyclical: Fu et al.: Cyclical annealing schedule, NAACL 2019, arXiv:1903.10145"

    def __init__(self, schedules: Mapping[str, str | float] = {}, load: str | None = None) -> None:
        super().__init__()
        self.load, self.curves = load, None if load is None else read_curves(load)
        self.given: dict[str, Schedule] = {name: parse_schedule(text) for name, text in schedules.items()}
        for name, schedule in self.given.items():
            lowest = min(schedule(i / 100) for i in range(101))
            require(lowest >= 0, "A weight must be finite and not negative", f"schedules.{name} falls to {lowest:g}")

    def allocate(self, size: int) -> None:
        self.per_loss(dict.fromkeys(self.given, 1.0))
        if self.curves is None:
            return
        curves = set(self.curves.weights)
        require(
            curves == set(self.names),
            f"A schedule file must have the losses of the run, {', '.join(self.names)}",
            f"{self.load!r} has {', '.join(self.curves.weights)}",
            "Distil a run of the same losses.",
        )
        self.given = {name: self.curves.schedule(name) for name in self.names} | self.given

    def forward(self, signals: Signals) -> Tensor:
        weights = (self.given[name](signals.progress) if name in self.given else 1.0 for name in self.names)
        return constant(tuple(weights), signals.values.device).clone()

"""Weights that follow a schedule."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.schedules.curves import read_curves
from autoloss.core.schedules.schedule import Schedule, parse_schedule
from autoloss.core.signals import Signals
from autoloss.core.tensors.constants import constant
from autoloss.core.weighting import Weighting

AXES = ("progress", "epoch", "plateau")


class Scheduled(Weighting):
    """Gives each loss a weight that is a function of progress, of the epoch, or of plateaus of validation.

    Args:
        schedules: by loss name, a number or one of ``constant(w)``, ``linear(from,to)``,
            ``cosine(from,to)``, ``step(from,to,at)``, ``cyclical(low,high,cycles,rise)``,
            ``warmup(to,until)`` and ``rampup(to,until)`` (mean teacher's); a loss that is not named has the weight 1.
        load: a file of curves, which ``autoloss distill`` writes from a run; one for each loss.
            ``schedules`` takes precedence for the losses that it names.
        by: what they are functions of: ``progress``, from 0 at the start to 1 at the end; ``epoch``, from 0
            (``linear(0,1,0,20)`` rises over 20 epochs); or ``plateau``, the number of times so far that a validation
            metric had stopped improving (``step(1,0.1,2)`` falls at the second; the keys of ``plateau`` say which
            metric and when; in a loop of your own ``balancer.validated`` counts).

    ``linear``, ``cosine``, ``warmup`` and ``rampup`` take further arguments for where they begin and end.
    Progress needs the length of training: Trainer flags give it, ``Balancer`` takes ``total_steps``. Without it the
    first step is an error.
    """

    use = "A KL term that is warmed up, an auxiliary loss that fades; the weights of another run, at no cost."
    avoid = "The right moment is not known: let a dynamic weighting find it."
    citation = "cyclical: Fu et al.: Cyclical annealing schedule, NAACL 2019, arXiv:1903.10145"

    def __init__(
        self, schedules: Mapping[str, str | float] = {}, load: str | None = None, by: str = "progress"
    ) -> None:
        super().__init__()
        if by not in AXES:
            raise unknown("axis of a schedule", by, AXES)
        require(load is None or by == "progress", "A schedule file follows progress", f"by={by!r}")
        self.by, self.load, self.curves = by, load, None if load is None else read_curves(load)
        self.follows = frozenset({by} if load else ())
        self.given: dict[str, Schedule] = {name: parse_schedule(text) for name, text in schedules.items()}
        for name, schedule in self.given.items():
            times = [i / 100 for i in range(101)] if by == "progress" else range(1001)
            lowest = min(schedule(time) for time in times)
            if len({schedule(time) for time in times}) > 1:
                self.follows = frozenset({by})
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
        time = {"progress": signals.progress, "epoch": signals.epoch, "plateau": signals.plateaus}[self.by]
        weights = (self.given[name](time) if name in self.given else 1.0 for name in self.names)
        return constant(tuple(weights), signals.values.device).clone()

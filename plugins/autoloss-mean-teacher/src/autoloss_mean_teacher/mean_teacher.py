"""``module=mean_teacher``: trains a student network together with its teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autoloss import Ingredients, ModuleBuilder, MultiTaskModule, RunModule, require
from autoloss_mean_teacher.module import MeanTeacherModule


class MeanTeacher(ModuleBuilder):
    """Trains a network whose predictions on samples without labels agree with those of its moving average.

    Args:
        decay: the decay of the average, in [0, 1); the teacher averages about ``1 / (1 - decay)`` steps.
        term: the term whose predictions are compared.
        consistency: the term that compares them, usually with the loss ``consistency``.
    """

    use = "Few labels and many samples, and noise or augmentation that does not change the answer."
    avoid = "Enough labels; or a teacher no better than chance, unless the weight of the term grows slowly."
    citation = "Tarvainen, Valpola: Mean teachers are better role models, NeurIPS 2017, arXiv:1703.01780"

    def __init__(self, decay: float = 0.99, term: str = "label", consistency: str = "consistency") -> None:
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.decay, self.term, self.consistency = decay, term, consistency

    def check(self, run: Ingredients, attempt: Callable[[Callable[[], Any]], Any]) -> None:
        attempt(lambda: MultiTaskModule.check_problem(run.problem))
        terms = ", ".join(run.problem.terms)
        for key in ("term", "consistency"):
            name = getattr(self, key)
            rule = f"module.{key} must name a loss of the problem"
            attempt(
                lambda n=name, r=rule: require(n in run.problem.terms, r, f"it is {n!r} and the losses are {terms}")
            )

    def build(self, run: Ingredients) -> RunModule:
        return MeanTeacherModule.of(run, decay=self.decay, term=self.term, consistency=self.consistency)

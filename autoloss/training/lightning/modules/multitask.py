"""``module=multitask``: trains one network with several losses."""

from __future__ import annotations

from typing import Any

from autoloss.training.lightning.module_builder import Attempt, Ingredients, ModuleBuilder
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.lightning.run_module import RunModule


class Multitask(ModuleBuilder):
    """Trains one network with the weighted sum of its losses; works with any flag of Lightning's Trainer."""

    use = "Any problem with one network."
    avoid = "Two networks that train against each other: module=gan."
    citation = "Caruana, Multitask learning, Machine Learning 28, 1997"

    def check(self, run: Ingredients, attempt: Attempt[Any]) -> None:
        attempt(lambda: MultiTaskModule.check_problem(run.problem))

    def build(self, run: Ingredients) -> RunModule:
        return MultiTaskModule.of(run)

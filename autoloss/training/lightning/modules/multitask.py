"""One network with several losses."""

from __future__ import annotations

from typing import Any

from autoloss.core.errors import ConfigError
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.problem import Problem
from autoloss.training.lightning.module_builder import Attempt, Ingredients, ModuleBuilder
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.lightning.run_module import RunModule


class Multitask(ModuleBuilder):
    """Trains one network with the weighted sum of its losses, under any flag of Lightning's Trainer."""

    use = "Any problem with one network."
    avoid = "Two networks that train against each other: module=gan."

    def check(self, run: Ingredients, attempt: Attempt[Any]) -> None:
        attempt(lambda: check_one_network(run.problem))

    def build(self, run: Ingredients) -> RunModule:
        check_one_network(run.problem)
        return MultiTaskModule.of(run)


def check_one_network(problem: Problem) -> None:
    """Raise :class:`ConfigError` if ``problem`` has two networks."""
    if isinstance(problem, GanProblem):
        raise ConfigError(
            f"{problem.title()!r} has two networks, but the module trains one. Leave `module` out, or set module=gan."
        )

"""The mistakes of the page on modules, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from autoloss import ModuleBuilder
from autoloss.testing import ModuleSuite
from autoloss.training.lightning.modules.multitask import Multitask
from autoloss.training.lightning.multitask import MultiTaskModule
from tests.plugins.mistakes.making import asked


def module_suite(check_name: str, made: Callable[[], ModuleBuilder]) -> Callable[[], object]:
    """One check of the suite of modules, of what ``made`` makes, with the pages' problems."""

    def check() -> object:
        pages = import_module("my_methods.two_curves"), import_module("my_methods.ring")
        problems = {"problem": lambda self: pages[0].TwoCurves(), "wrong_problem": lambda self: pages[1].Ring()}
        tested = type("Suite", (ModuleSuite,), {"builder": staticmethod(made), **problems})()
        test = getattr(tested, f"test_{check_name}")
        with TemporaryDirectory() as place:
            return test(Path(place)) if "tmp_path" in signature(test).parameters else test()

    return check


class Registered(MultiTaskModule):
    """A module where its builder should be."""


class Lenient(Multitask):
    """Takes any problem."""

    def check(self, run: Any, attempt: Any) -> None:
        pass


class Forgetful(Multitask):
    """Its module loads nothing of a checkpoint."""

    def build(self, run: Any) -> Any:
        module = super().build(run)
        module.on_load_checkpoint = lambda checkpoint: checkpoint["state_dict"].update(module.state_dict())  # type: ignore[method-assign]
        return module


class Idle(Multitask):
    """Its optimiser moves nothing."""

    def build(self, run: Any) -> Any:
        module = super().build(run)
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.0)  # type: ignore[method-assign]
        return module


MISTAKES: list[Callable[[], object]] = [
    asked("problem=my_two_curves", "module=my_averagd"),
    asked("problem=my_two_curves", "module=my_averaged", "module.decy=0.5"),
    asked("problem=my_two_curves", "module=my_averaged", "module.decay=2"),
    asked("problem=my_ring", "module=my_averaged"),
    asked("problem=my_two_curves", "module=tests.plugins.mistakes.module:Registered"),
    module_suite("refuses_a_wrong_problem_with_a_sentence", lambda: Lenient()),
    module_suite("a_resumed_run_goes_on_bit_for_bit", lambda: Forgetful()),
    module_suite("trains_records_and_measures", lambda: Idle()),
]

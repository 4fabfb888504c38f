"""Builds the problem, module builder, optimiser, scheduler and implicit derivative that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoloss.app.instantiate import check_call, factory
from autoloss.core.errors import check_known, require
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named
from autoloss.probe.implicit import Implicit
from autoloss.training.lightning.module_builder import ModuleBuilder


def build_problem(config: Mapping[str, Any]) -> Problem:
    """The problem that ``config.problem`` names."""
    name, parameters = named("problem", config["problem"], "problem=two_digits")
    problem: Problem = registry.build("problem", name, **parameters)
    return problem


def build_builder(config: Mapping[str, Any], problem: Problem) -> ModuleBuilder:
    """The builder of the module ``config.module``, or of the module that ``problem`` is made for."""
    node = config["module"] or problem.module
    if isinstance(node, Mapping) and not node.get("name"):
        node = {**node, "name": problem.module}
    name, parameters = named("module", node, "module=multitask")
    builder: ModuleBuilder = registry.build("module", name, **parameters)
    return builder


def build_scheduler(node: Mapping[str, Any], optimizer: Optimizer, steps: int) -> Any:
    """The learning-rate scheduler of ``optimizer`` over ``steps`` steps."""
    filled = {key: steps if key == "T_max" and value is None else value for key, value in node.items()}
    return factory(filled, LRScheduler)(optimizer)


def checked_optimizer(node: Mapping[str, Any], schedule: Mapping[str, Any]) -> partial[Any]:
    """A function that makes the optimiser of ``node``; it and ``schedule`` were tried with their parameters."""
    parameter = Parameter(torch.zeros(1))
    make = optimizer_of(node)
    check_call(make, [parameter], str(node["_target_"]))
    check_call(partial(build_scheduler, schedule, steps=1), SGD([parameter], lr=0.1), str(schedule["_target_"]))
    return make


def optimizer_of(node: Mapping[str, Any]) -> partial[Any]:
    """A function that makes the optimiser of ``node`` from network parameters."""
    return factory(node, Optimizer)


def build_implicit(given: Any) -> Implicit | None:
    """The implicit derivative that ``config.held_out.implicit`` describes; ``None`` if it is empty."""
    if not given:
        return None
    good = isinstance(given, (str, Mapping))
    require(good, "held_out.implicit must be a method, or a mapping with one", f"it is {given!r}", "Write cg.")
    given = {"method": given} if isinstance(given, str) else {str(key): value for key, value in given.items()}
    check_known("key of held_out.implicit", given, Implicit.__dataclass_fields__)
    return Implicit(**given)

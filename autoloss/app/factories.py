"""Builds the problem, module builder, optimiser, scheduler and implicit derivative that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autoloss.app.instantiate import check_call, factory
from autoloss.core.errors import ConfigError, check_known, require
from autoloss.core.grouped_problem import GroupedProblem
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named
from autoloss.probe.implicit import Implicit
from autoloss.training.lightning.module_builder import ModuleBuilder


def build_problem(config: Mapping[str, Any]) -> Problem:
    """The problem that ``config.problem`` names."""
    name, parameters = named("problem", config["problem"], "problem=two_digits")
    problem: Problem = registry.build("problem", name, **parameters)
    return grouped(problem, config)


def grouped(problem: Problem, config: Mapping[str, Any]) -> Problem:
    """``problem`` with the groups that ``config`` names: in ``group_by``, and in ``by`` of its losses."""
    nodes = config["losses"]
    split = {term: node for term, node in nodes.items() if isinstance(node, Mapping) and node.get("by") is not None}
    for term, node in nodes.items():
        alone = isinstance(node, Mapping) and node.get("groups") is not None and term not in split
        require(not alone, f"losses.{term}.groups names the groups of a key", "there is none", f"Set losses.{term}.by.")
    keys = [node["by"] for node in split.values()]
    keys += [config["group_by"]] if config.get("group_by") is not None else []
    for key in keys:
        require(isinstance(key, str) and bool(key), "A key of groups must be a name", f"it is {key!r}", "Write by=KEY.")
    if not keys:
        return problem
    same = len(set(keys)) == 1
    require(same, "Groups must be those of one key", f"there are {', '.join(dict.fromkeys(keys))}")
    given = [node["groups"] for node in split.values() if node.get("groups") is not None]
    names = given[0] if given else problem.groups.get(keys[0])
    if names is None:
        where = f"losses.{next(iter(split), 'TERM')}.groups"
        in_class = f"{where}=[a,b], or groups = {{{keys[0]!r}: (...)}} in the problem's class"
        raise ConfigError(
            f"The groups of {keys[0]!r} must have names, but {problem.title()!r} does not say them. Write "
            f"{problem.keyed.replace('KEY', keys[0]) or in_class}."
        )
    good = isinstance(names, Sequence) and not isinstance(names, str)
    require(good, "`groups` of a loss must be a list of names", f"it is {names!r}", "Write [a,b].")
    return GroupedProblem(problem, keys[0], [str(one) for one in names], list(split))


def losses_in(config: Mapping[str, Any], problem: Problem) -> Mapping[str, Any]:
    """The nodes of ``config.losses``, those of split terms for each group."""
    split = {"by", "groups"}
    nodes = {
        term: {key: value for key, value in node.items() if key not in split} if isinstance(node, Mapping) else node
        for term, node in config["losses"].items()
    }
    return problem.nodes(nodes) if isinstance(problem, GroupedProblem) else nodes


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

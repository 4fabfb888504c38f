"""From a run's configuration to its components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from autoloss.app.factories import build_loss, build_scheduler, checked_optimizer, loss_nodes
from autoloss.app.gan import build_gan, check_game, check_not_game
from autoloss.app.instantiate import factory
from autoloss.app.shape import check_shape
from autoloss.app.trainer_flags import check_trainer
from autoloss.core.errors import AutolossError, ConfigError, require, unknown
from autoloss.core.need import OUTCOME, Need
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named
from autoloss.core.terms import Terms
from autoloss.probe.implicit import Implicit
from autoloss.probe.optimizer_step import check_optimizer
from autoloss.training.lightning.loaders import HeldOut
from autoloss.training.lightning.modules.curriculum import CurriculumModule, check_curriculum
from autoloss.training.lightning.modules.gan import GanModule
from autoloss.training.lightning.modules.multitask import (
    ANCHORS,
    MultiTaskModule,
    check_anchor,
    check_lookahead,
    learner,
)
from autoloss.training.lightning.shared.plateaus import FollowsPlateaus
from autoloss.training.step.build import build_sample_weighting, build_weighting
from autoloss.training.step.lookahead import check_primary
from autoloss.training.step.nonfinite import NonFiniteWatch
from autoloss.training.step.penalties import Penalties
from autoloss.training.step.sample_weights import SampleWeights

HELD_OUT: Mapping[str, Any] = {"share": 0.1, "batch_size": None, "primary": ()}
Module = MultiTaskModule | GanModule


LOOKS = (
    "A game of two networks needs a sample weighting that does not learn from held-out data",
    "the one chosen does",
)


def build_implicit(options: Mapping[str, Any]) -> Implicit | None:
    """How ``config.held_out.implicit`` differentiates; ``None`` where it says nothing."""
    given = options.get("implicit")
    if not given:
        return None
    good = isinstance(given, (str, Mapping))
    require(good, "held_out.implicit must be a method, or a mapping with one", f"it is {given!r}", "Write cg.")
    given = {"method": given} if isinstance(given, str) else {str(key): value for key, value in given.items()}
    for key in given:
        if key not in Implicit.__dataclass_fields__:
            raise unknown("key of held_out.implicit", key, Implicit.__dataclass_fields__)
    return Implicit(**given)


def build_problem(config: Mapping[str, Any]) -> Problem:
    """The problem that ``config.problem`` names."""
    name, parameters = named("problem", config["problem"], "problem=two_digits")
    problem: Problem = registry.build("problem", name, **parameters)
    return problem


def build_module(
    config: Mapping[str, Any], problem: Problem, data: Any = None, held_out: HeldOut | None = None
) -> Module:
    """The Lightning module of a run on the training ``data``: what ``config.module`` says, else the problem's own.

    ``held_out`` is for weightings that learn from data that is not trained on.
    """
    make = MODULES[module_name(config, problem)]
    return make(config, problem, data) if held_out is None else make(config, problem, data, held_out)


def module_name(config: Mapping[str, Any], problem: Problem) -> str:
    """The key of :data:`MODULES` that a run is trained by."""
    name = str(config.get("module") or problem.module)
    if name not in MODULES:
        raise unknown("module", name, MODULES)
    return name


def _multitask(
    config: Mapping[str, Any], problem: Problem, data: Any, held_out: HeldOut | None = None
) -> MultiTaskModule:
    return MultiTaskModule(problem, **_common(config, problem, data, held_out))


def _curriculum(
    config: Mapping[str, Any], problem: Problem, data: Any, held_out: HeldOut | None = None
) -> MultiTaskModule:
    return CurriculumModule(problem, **_common(config, problem, data, held_out), **config.get("curriculum", {}))


def _common(config: Mapping[str, Any], problem: Problem, data: Any, held_out: HeldOut | None) -> dict[str, Any]:
    check_not_game(problem)
    return {
        "losses": {name: build_loss(node) for name, node in loss_nodes(config["losses"], problem.terms).items()},
        "weighting": build_weighting(config["weighting"]),
        "optimizer": factory(config["optimizer"], Optimizer),
        "scheduler": partial(build_scheduler, config["lr_schedule"]),
        "base": config["base"],
        "groups": config["groups"],
        "unbalanced": config["unbalanced"],
        "on_nonfinite": config["on_nonfinite"],
        "anchor": config.get("anchor", ANCHORS[0]),
        "sample_weighting": build_sample_weighting(config.get("sample_weighting", "uniform")),
        "samples": len(data) if hasattr(data, "__len__") else None,
        "held_out": held_out,
        "primary": config.get("held_out", HELD_OUT)["primary"],
        "implicit": build_implicit(config.get("held_out", HELD_OUT)),
        "plateau": config.get("plateau"),
        "penalties": config.get("penalties"),
    }


# What trains a problem, by what people write; each is made from the configuration, the problem and the training data.
MODULES: dict[str, Callable[..., Module]] = {
    "curriculum": _curriculum,
    "gan": build_gan,
    "multitask": _multitask,
}


def check(config: Mapping[str, Any]) -> None:
    """Raise one :class:`ConfigError` that lists everything wrong with ``config``."""
    check_shape(config)
    found: list[str] = []

    def attempt(build: Any) -> Any:
        try:
            return build()
        except AutolossError as error:
            found.append(str(error))
            return None

    problem = attempt(lambda: build_problem(config))
    weighting = attempt(lambda: build_weighting(config["weighting"]))
    samples = attempt(lambda: build_sample_weighting(config.get("sample_weighting", "uniform")))
    optimizer = attempt(lambda: checked_optimizer(config["optimizer"], config["lr_schedule"]))
    if weighting is not None and (who := learner(weighting, samples)):
        share, forked = config["held_out"]["share"], config.get("anchor", ANCHORS[0]) != ANCHORS[0]
        attempt(lambda: require(0 < share < 1, "held_out.share must lie between 0 and 1", f"it is {share}"))
        attempt(lambda: check_lookahead(who, forked, True))
        if optimizer is not None and Need.ALIGNMENT in weighting.needs:
            attempt(lambda: check_optimizer(optimizer.func))
    attempt(
        lambda: require(config["batch_size"] >= 1, "batch_size must be at least 1", f"it is {config['batch_size']}")
    )
    attempt(lambda: check_trainer(config["trainer"]))
    attempt(lambda: check_anchor(config.get("anchor", ANCHORS[0])))
    attempt(lambda: _check_checkpoint(config["ckpt"]))
    if problem is not None:
        for node in (attempt(lambda: loss_nodes(config["losses"], problem.terms)) or {}).values():
            attempt(lambda node=node: build_loss(node))
        attempt(lambda: build_implicit(config.get("held_out", HELD_OUT)))
        attempt(lambda: check_primary(config.get("held_out", HELD_OUT)["primary"], list(problem.terms)))
        attempt(lambda: NonFiniteWatch(tuple(problem.terms), config["on_nonfinite"]))
        penalties = {name: node for name, node in (config.get("penalties") or {}).items() if node is not None}
        for name, node in penalties.items():
            attempt(lambda name=name, node=node: Penalties({name: node}, problem.terms))
        names = [*problem.terms, *(name for name in penalties if name not in problem.terms)]
        attempt(lambda: FollowsPlateaus().follow_plateaus(problem.metrics, **config.get("plateau", {})))
        module = attempt(lambda: module_name(config, problem))
        if module == "curriculum":
            attempt(lambda: check_curriculum(**config.get("curriculum", {})))
        if module == "gan" and weighting is not None:
            looks = bool(learner(weighting, samples)) and not weighting.needs & OUTCOME
            attempt(lambda: require(not looks, *LOOKS, "Choose another."))
        if module == "gan":
            check_game(config, problem, attempt)
            listed = ", ".join(penalties)
            attempt(lambda: require(not listed, "A game's networks must have no penalties", f"there is {listed}"))
        elif module is not None:
            attempt(lambda: check_not_game(problem))
        if samples is not None and names:
            attempt(lambda: SampleWeights(names, samples, size=1))
        terms = attempt(lambda: Terms(names, config["base"], config["groups"]))
        if weighting is not None and names:
            attempt(lambda: weighting.bind(names if terms is None else terms.units))
    if found:
        raise ConfigError("\n".join(dict.fromkeys(found)))


def _check_checkpoint(path: str | None) -> None:
    found = path in (None, "last") or Path(str(path)).is_file()
    require(found, "ckpt must be a checkpoint's path or last", f"there is no file {path!r}")

"""Builds what a run needs, once; one error lists everything that is wrong with its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import pytorch_lightning as pl
from torch.optim import SGD

from autoloss.app.config_types import check_types
from autoloss.app.current_config import OLD_KEY, current
from autoloss.app.directories import checkpoint_of
from autoloss.app.factories import (
    build_builder,
    build_implicit,
    build_problem,
    build_scheduler,
    checked_optimizer,
    losses_in,
    optimizer_of,
)
from autoloss.app.screen import say
from autoloss.app.splits import check_test
from autoloss.app.trainer_flags import check_trainer
from autoloss.core.constraint import constraints_of
from autoloss.core.errors import AutolossError, ConfigError, require
from autoloss.core.loss import Loss
from autoloss.core.need import Need
from autoloss.core.problem import Problem
from autoloss.core.terms import Terms
from autoloss.probe.optimizer_step import check_optimizer
from autoloss.search.stop import no_exit
from autoloss.training.lightning.loaders import HeldOut, check_source
from autoloss.training.lightning.module_builder import Attempt, Ingredients, ModuleBuilder
from autoloss.training.lightning.run_module import RunModule
from autoloss.training.lightning.shared.anchors import ANCHORS, check_anchor
from autoloss.training.lightning.shared.held_out_checks import check_lookahead, learner
from autoloss.training.lightning.shared.judging_losses import judging
from autoloss.training.lightning.shared.plateaus import FollowsPlateaus
from autoloss.training.lightning.shared.rng import restore_rng, rng_state
from autoloss.training.step.build import build_loss, build_sample_weighting, build_weighting, loss_nodes
from autoloss.training.step.held_out_objective import check_objective, check_primary
from autoloss.training.step.lookahead import differentiates
from autoloss.training.step.loss_numbers import learned_numbers
from autoloss.training.step.nonfinite import NonFiniteWatch
from autoloss.training.step.penalties import Penalties
from autoloss.training.step.sample_weights import SampleWeights

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to train: its configuration, its ingredients, and the builder of its module.

    The random generators are seeded before anything is built. ``random`` is their state after everything was built;
    training starts from this state.
    """

    config: Mapping[str, Any]
    ingredients: Ingredients
    builder: ModuleBuilder
    random: Mapping[str, Any]

    @property
    def problem(self) -> Problem:
        """The run's problem."""
        return self.ingredients.problem

    @property
    def learns_from_held_out(self) -> bool:
        """Whether a weighting, or a number of a loss, learns from held-out data."""
        return bool(learner(self.ingredients.weighting, self.ingredients.sample_weighting, self.ingredients.losses))

    def restore_random(self) -> None:
        """Set the random generators to their state after everything was built."""
        restore_rng(dict(self.random))

    def module(self, data: Any = None, held_out: HeldOut | None = None) -> RunModule:
        """The Lightning module for the training ``data``; ``held_out`` gives the batches of held-out data."""
        samples = len(data) if hasattr(data, "__len__") else None
        made = self.builder.build(replace(self.ingredients, samples=samples, held_out=held_out))
        require(
            not self.ingredients.constraints or made.player.constraints is not None,
            "`constraints` need a module that gives them to its player",
            f"{self.builder.title()!r} does not",
            "Leave them out, or choose another module.",
        )
        return made


@no_exit()
def prepare(config: Mapping[str, Any], problem: Problem | None = None, here: bool = True) -> PreparedRun:
    """Seed the random generators and build what the run of ``config`` needs, with ``problem`` if it is given.

    ``here`` is false if a launcher trains it, perhaps on another machine with other devices.
    Raises one :class:`ConfigError` that lists everything wrong with ``config``.
    """
    given, config = config, current(config)
    if OLD_KEY in given and config["module"]["name"] == OLD_KEY:
        _tell_old_key()
    check_types(config)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    found: list[str] = []

    def attempt(build: Callable[[], Made]) -> Made | None:
        try:
            return build()
        except AutolossError as error:
            found.append(str(error))
            return None

    problem = problem or attempt(lambda: build_problem(config))
    ingredients = _ingredients(config, problem, attempt)
    _check_run(config, attempt, here)
    if problem is not None:
        attempt(lambda: check_test(config, problem))
    builder = None
    if ingredients is not None:
        _check_losses(ingredients, attempt)
        builder = attempt(lambda: build_builder(config, ingredients.problem))
        if builder is not None:
            builder.check(ingredients, attempt)
    if found:
        raise ConfigError("\n".join(dict.fromkeys(found)))
    assert ingredients is not None
    assert builder is not None
    if len(terms := list(ingredients.problem.terms)) == 1 and not config["penalties"]:
        _tell_one_loss(terms[0])
    if Need.KERNEL in ingredients.weighting.needs:
        others = [f"{term} is {loss.title()}" for term, loss in ingredients.losses.items() if not loss.squares]
        if others:
            _tell_no_squares(str(config["weighting"]["name"]), " and ".join(others))
    return PreparedRun(config, ingredients, builder, rng_state())


@cache
def _tell_old_key() -> None:
    """Say once that the keys of a curriculum are those of its module now."""
    say("autoloss: the keys curriculum.* are now module.*; the old ones work until the next version.", error=True)


@cache
def _tell_one_loss(name: str) -> None:
    """Say once that there is nothing to weigh."""
    say(f"autoloss: the problem has one loss, {name}: there is nothing to weigh it against.", error=True)


@cache
def _tell_no_squares(name: str, others: str) -> None:
    """Say once which losses a weighting by kernels was not made for."""
    say(
        f"autoloss: {name} is for losses that are squared residuals (mse), but {others}: it takes the root of "
        "such a loss for its residual, and its theory says nothing of that.",
        error=True,
    )


def _ingredients(config: Mapping[str, Any], problem: Problem | None, attempt: Attempt[Any]) -> Ingredients | None:
    """What the run is made of; a plain component replaces one that cannot be built, so that the rest is checked too."""
    losses: dict[str, Loss] = {}
    nodes = None if problem is None else attempt(lambda: loss_nodes(losses_in(config, problem), problem.terms))
    for name, node in (nodes or {}).items():
        loss = attempt(partial(build_loss, node))
        if loss is not None:
            losses[name] = loss
    weighting = attempt(lambda: build_weighting(config["weighting"])) or build_weighting("equal")
    samples = attempt(lambda: build_sample_weighting(config["sample_weighting"])) or build_sample_weighting("uniform")
    optimizer = attempt(lambda: checked_optimizer(config["optimizer"], config["lr_schedule"]))
    implicit = attempt(lambda: build_implicit(config["held_out"]["implicit"]))
    if problem is None:
        return None
    return Ingredients(
        problem,
        losses,
        weighting,
        samples,
        optimizer or partial(SGD, lr=0.1),
        partial(build_scheduler, config["lr_schedule"]),
        implicit,
        config,
        optimizer_of,
    )


def _check_run(config: Mapping[str, Any], attempt: Attempt[Any], here: bool) -> None:
    size, anchor, ckpt = config["batch_size"], config["anchor"], config["ckpt"]
    attempt(lambda: require(size >= 1, "batch_size must be at least 1", f"it is {size}"))
    workers, threads = config["workers"], config["threads"]
    attempt(lambda: require(workers >= 0, "workers must be at least 0", f"it is {workers}"))
    attempt(lambda: require(threads is None or threads >= 1, "threads must be at least 1", f"it is {threads}"))
    attempt(lambda: check_trainer(config["trainer"], here))
    attempt(lambda: check_anchor(anchor))
    place = None if ckpt in (None, "last") else checkpoint_of(str(ckpt))
    exists = place is None or place.is_file()
    attempt(lambda: require(exists, "ckpt must be a checkpoint's path or last", f"there is no file {str(place)!r}"))


def _check_losses(run: Ingredients, attempt: Attempt[Any]) -> None:
    config, problem, weighting, samples = run.config, run.problem, run.weighting, run.sample_weighting
    if learning := learner(weighting, samples, run.losses):
        share, forked = config["held_out"]["share"], config["anchor"] != ANCHORS[0]
        attempt(lambda: require(0 < share < 1, "held_out.share must lie between 0 and 1", f"it is {share}"))
        attempt(lambda: check_lookahead(learning, forked and differentiates(weighting, samples, run.losses), True))
        if Need.ALIGNMENT in weighting.needs or learned_numbers(run.losses):
            attempt(lambda: check_optimizer(run.optimizer.func))  # type: ignore[attr-defined]  # a partial
    attempt(lambda: check_primary(config["held_out"]["primary"], list(problem.terms)))
    attempt(lambda: judging(run.losses, problem, config["held_out"]["losses"]))
    attempt(lambda: check_objective(config["held_out"]["objective"]))
    attempt(lambda: check_source(config["held_out"]["source"]))
    attempt(lambda: NonFiniteWatch(tuple(problem.terms), config["on_nonfinite"]))
    for name, node in run.penalties.items():
        attempt(partial(Penalties, {name: node}, problem.terms))
    attempt(lambda: FollowsPlateaus().follow_plateaus(problem.metrics, **config["plateau"]))
    if not problem.terms:
        attempt(lambda: require(False, "A problem must have losses", "its terms are empty", "Name them in `terms`."))
        return
    names = [*problem.terms, *(name for name in run.penalties if name not in problem.terms)]
    attempt(lambda: samples.suit(problem))
    attempt(lambda: SampleWeights(names, samples, size=1))
    terms = attempt(lambda: Terms(names, config["base"], config["groups"]))
    if terms is not None:
        for of, node in run.constraints.items():
            attempt(partial(constraints_of, {of: node}, terms, problem.metrics))
    # Bind a copy: the weighting that trains is bound later.
    attempt(lambda: deepcopy(weighting).bind(names if terms is None else terms.units))

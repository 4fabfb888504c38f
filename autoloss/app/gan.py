"""From the configuration of a game to its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch.optim import Optimizer

from autoloss.app.factories import build_loss, build_scheduler, loss_nodes
from autoloss.app.instantiate import factory
from autoloss.core.errors import ConfigError
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.training.lightning.gan.checks import check_flags, check_gan, check_surgery
from autoloss.training.lightning.gan.moving_average import check_decay
from autoloss.training.lightning.gan.pace import Pace
from autoloss.training.lightning.gan.player import DISCRIMINATOR, GENERATOR, GanPlayer, PlayerOptions
from autoloss.training.lightning.modules.gan import GanModule
from autoloss.training.lightning.modules.multitask import ANCHORS
from autoloss.training.step.build import build_sample_weighting, build_weighting


def build_gan(config: Mapping[str, Any], problem: Problem, data: Any = None, held_out: Any = None) -> GanModule:
    """The module of a run of two players."""
    game = check_gan(problem)
    losses = _generator_losses(config, game)
    return GanModule(
        game,
        _options(config, config["generator"], config, losses, _number(data)),
        _options(
            config["discriminator"],
            config["discriminator"],
            config,
            _discriminator_losses(config, game, losses),
            _number(data),
        ),
        average=config["generator"]["average"],
        pace=_pace(config),
        on_nonfinite=config["on_nonfinite"],
        anchor=config.get("anchor", ANCHORS[0]),
        plateau=config.get("plateau"),
    )


def check_game(config: Mapping[str, Any], problem: Problem, attempt: Callable[[Callable[[], Any]], Any]) -> None:
    """Try whatever a game has beyond one network; ``attempt`` takes down what is wrong."""
    trainer, side = config["trainer"], config.get("discriminator")
    game = attempt(lambda: check_gan(problem))
    attempt(
        lambda: check_flags(
            trainer.get("gradient_clip_val"), trainer.get("accumulate_grad_batches", 1), trainer.get("max_steps", -1)
        )
    )
    if game is None or side is None:
        return
    attempt(lambda: _pace(config))
    attempt(lambda: check_decay(config["generator"]["average"]))
    losses = attempt(lambda: _generator_losses(config, game)) or {}
    attempt(lambda: GanPlayer(GENERATOR, list(game.terms), _options(config, config["generator"], config, losses)))
    weighting = attempt(lambda: build_weighting(side["weighting"]))
    attempt(lambda: factory(side["optimizer"], Optimizer))
    its = attempt(lambda: _discriminator_losses(config, game, losses))
    if weighting is not None and its is not None:
        attempt(lambda: check_surgery(weighting))
        attempt(lambda: GanPlayer(DISCRIMINATOR, list(game.discriminator_terms), _options(side, side, config, its)))


def check_not_game(problem: Problem) -> None:
    """Raise :class:`ConfigError` if ``problem`` has two networks."""
    if isinstance(problem, GanProblem):
        raise ConfigError(
            f"{problem.title()!r} has two networks, but the module trains one. Leave `module` out, or set module=gan."
        )


def _number(data: Any) -> int | None:
    return len(data) if hasattr(data, "__len__") else None


def _options(
    node: Mapping[str, Any],
    play: Mapping[str, Any],
    config: Mapping[str, Any],
    losses: dict[str, Loss],
    samples: int | None = 1,
) -> PlayerOptions:
    return PlayerOptions(
        losses,
        build_weighting(node["weighting"]),
        factory(node["optimizer"], Optimizer),
        partial(build_scheduler, config["lr_schedule"]),
        base=node["base"],
        groups=node["groups"],
        unbalanced=node["unbalanced"],
        steps=play["steps"],
        accumulate=play["accumulate"],
        clip=play["clip"],
        sample_weighting=build_sample_weighting(node.get("sample_weighting", "uniform")),
        samples=samples,
    )


def _generator_losses(config: Mapping[str, Any], game: GanProblem) -> dict[str, Loss]:
    return {name: build_loss(node) for name, node in loss_nodes(config["losses"], game.terms).items()}


def _discriminator_losses(config: Mapping[str, Any], game: GanProblem, losses: Mapping[str, Loss]) -> dict[str, Loss]:
    """The discriminator's losses; a game that both play is the generator's."""
    chosen = config["discriminator"]["losses"]
    shared = {n: of for n, of in losses.items() if isinstance(of, AdversarialLoss) and n in game.discriminator_terms}
    for name in shared:
        if name in chosen:
            raise ConfigError(
                f"Both sides play one game, but discriminator.losses.{name} chooses another. Set losses.{name} alone."
            )
    for name, default in game.terms.items():
        alone = name in losses and name in game.discriminator_terms and name not in {*shared, *chosen}
        if alone and default is not None and isinstance(build_loss({"name": default}), AdversarialLoss):
            raise ConfigError(
                f"Both sides play {name!r}, so its loss must be adversarial, but {losses[name].title()!r} is not. "
                f"Choose another losses.{name}, or discriminator.losses.{name} too."
            )
    nodes = loss_nodes(chosen, game.discriminator_terms, DISCRIMINATOR)
    return {**{name: build_loss(node) for name, node in nodes.items()}, **shared}


def _pace(config: Mapping[str, Any]) -> Pace | None:
    node = config["pace"]
    return None if node["target"] is None else Pace(**node)

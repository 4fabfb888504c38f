"""``module=gan``: trains a generator and a discriminator, each with its own losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import ConfigError, require
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.loss import Loss
from autoloss.core.need import SampleNeed
from autoloss.training.lightning.gan.checks import check_flags, check_gan, check_surgery
from autoloss.training.lightning.gan.module import GanModule
from autoloss.training.lightning.gan.moving_average import check_decay
from autoloss.training.lightning.gan.pace import Pace
from autoloss.training.lightning.gan.player import DISCRIMINATOR, GENERATOR, GanPlayer, PlayerOptions
from autoloss.training.lightning.module_builder import Attempt, Ingredients, ModuleBuilder
from autoloss.training.lightning.run_module import RunModule
from autoloss.training.step.build import build_loss, build_sample_weighting, build_weighting, loss_nodes


class Gan(ModuleBuilder):
    """Trains a generator and a discriminator in turns, each with the weighted sum of its own losses.

    Its keys are ``generator.*``, ``discriminator.*`` and ``pace.*``. The keys at the top of the configuration
    (``weighting``, ``losses``, ``optimizer``) configure the generator.
    """

    use = "Problems with a generator and a discriminator (GanProblem)."
    avoid = "One network."
    citation = "Goodfellow et al., Generative adversarial nets, NeurIPS 2014, arXiv:1406.2661"
    brings = {"/players": "gan"}

    def check(self, run: Ingredients, attempt: Attempt[Any]) -> None:
        config, samples = run.config, run.sample_weighting
        trainer, other = config["trainer"], config.get("discriminator")
        rule = "A GAN needs a sample weighting that does not learn from held-out data"
        learns = SampleNeed.ALIGNMENT in samples.needs
        attempt(lambda: require(not learns, rule, "the one chosen does", "Choose another."))
        listed = ", ".join(run.penalties)
        attempt(lambda: require(not listed, "The networks of a GAN must have no penalties", f"there is {listed}"))
        flags = trainer.get("accumulate_grad_batches", 1), trainer.get("max_steps", -1)
        attempt(lambda: check_flags(trainer.get("gradient_clip_val"), *flags))
        problem = attempt(lambda: check_gan(run.problem))
        if problem is None or other is None:
            return
        attempt(lambda: _pace(config))
        attempt(lambda: check_decay(config["generator"]["average"]))
        attempt(lambda: GanPlayer(GENERATOR, list(problem.terms), _generator(run, 1)))
        weighting = attempt(lambda: build_weighting(other["weighting"]))
        attempt(lambda: run.optimizer_of(other["optimizer"]))
        losses = attempt(lambda: _discriminator_losses(config, problem, run.losses))
        if weighting is not None and losses is not None:
            attempt(lambda: check_surgery(weighting))
            attempt(lambda: GanPlayer(DISCRIMINATOR, list(problem.discriminator_terms), _discriminator(run, losses, 1)))

    def build(self, run: Ingredients) -> RunModule:
        config, problem = run.config, check_gan(run.problem)
        losses = _discriminator_losses(config, problem, run.losses)
        return GanModule(
            problem,
            _generator(run, run.samples),
            _discriminator(run, losses, run.samples),
            average=config["generator"]["average"],
            pace=_pace(config),
            on_nonfinite=config["on_nonfinite"],
            anchor=config["anchor"],
            plateau=config["plateau"],
        )


def _generator(run: Ingredients, samples: int | None) -> PlayerOptions:
    parts: dict[str, Any] = {"weighting": run.weighting, "sample_weighting": run.sample_weighting}
    parts |= {"optimizer": run.optimizer, "constraints": run.constraints, "metrics": tuple(run.problem.metrics)}
    return _options(run, run.config, run.config["generator"], dict(run.losses), samples, **parts)


def _discriminator(run: Ingredients, losses: dict[str, Loss], samples: int | None) -> PlayerOptions:
    node = run.config["discriminator"]
    parts = {
        "weighting": build_weighting(node["weighting"]),
        "sample_weighting": build_sample_weighting(node["sample_weighting"]),
        "optimizer": run.optimizer_of(node["optimizer"]),
    }
    return _options(run, node, node, losses, samples, **parts)


def _options(
    run: Ingredients,
    weighing: Mapping[str, Any],
    updates: Mapping[str, Any],
    losses: dict[str, Loss],
    samples: int | None,
    **parts: Any,
) -> PlayerOptions:
    return PlayerOptions(
        losses,
        scheduler=run.scheduler,
        base=weighing["base"],
        groups=weighing["groups"],
        unbalanced=weighing["unbalanced"],
        steps=updates["steps"],
        accumulate=updates["accumulate"],
        clip=updates["clip"],
        samples=samples,
        **parts,
    )


def _discriminator_losses(
    config: Mapping[str, Any], problem: GanProblem, losses: Mapping[str, Loss]
) -> dict[str, Loss]:
    """The discriminator's losses; an adversarial loss that both players have is one object, which they share."""
    chosen, terms = config["discriminator"]["losses"], problem.discriminator_terms
    shared = {name: loss for name, loss in losses.items() if isinstance(loss, AdversarialLoss) and name in terms}
    for name in shared:
        if name in chosen:
            raise ConfigError(
                f"Both players share the loss {name!r}, but discriminator.losses.{name} is another. Set "
                f"losses.{name} alone."
            )
    for name, default in problem.terms.items():
        alone = name in losses and name in terms and name not in {*shared, *chosen}
        if alone and default is not None and isinstance(build_loss({"name": default}), AdversarialLoss):
            raise ConfigError(
                f"Both players have the loss {name!r}, so it must be adversarial, but {losses[name].title()!r} is not. "
                f"Choose another losses.{name}, or discriminator.losses.{name} too."
            )
    nodes = loss_nodes(chosen, terms, DISCRIMINATOR)
    return {**{name: build_loss(node) for name, node in nodes.items()}, **shared}


def _pace(config: Mapping[str, Any]) -> Pace | None:
    node = config["pace"]
    return None if node["target"] is None else Pace(**node)

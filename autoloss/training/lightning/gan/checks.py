"""Checks that a GAN can be trained with a problem, its weightings and the Trainer's flags."""

from __future__ import annotations

from pytorch_lightning.strategies import DDPStrategy, Strategy

from autoloss.core.errors import ConfigError
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.surgery import Surgery
from autoloss.core.weighting import Weighting


def check_gan(problem: object) -> GanProblem:
    """``problem``, if it is a :class:`GanProblem`; raises :class:`ConfigError` if it is not."""
    if not isinstance(problem, GanProblem):
        raise ConfigError(
            "module=gan needs a problem with a generator and a discriminator (GanProblem), but it is "
            f"{type(problem).__name__}. Choose another problem, or leave `module` out."
        )
    return problem


def check_surgery(weighting: Weighting) -> None:
    """Raise :class:`ConfigError` if the discriminator's ``weighting`` needs a fork."""
    if isinstance(weighting, Surgery):
        raise ConfigError(
            "Surgery needs a fork, which only the generator has, but the discriminator's weighting is "
            f"{weighting.title()!r}. Choose another one for the discriminator."
        )


def check_flags(clip: float | None, accumulate: int, max_steps: int) -> None:
    """Raise :class:`ConfigError` if a flag of the Trainer is set that each player must have for itself."""
    wrong = []
    if clip:
        wrong.append(
            f"trainer.gradient_clip_val cannot serve two optimisers, but it is {clip}. Set generator.clip and "
            "discriminator.clip."
        )
    if accumulate != 1:
        wrong.append(
            f"trainer.accumulate_grad_batches cannot serve two optimisers, but it is {accumulate}. Set "
            "generator.accumulate and discriminator.accumulate."
        )
    if max_steps != -1:
        wrong.append(
            f"trainer.max_steps counts the steps of both optimisers, but it is {max_steps}. Set trainer.max_epochs, or "
            "trainer.limit_train_batches."
        )
    if wrong:
        raise ConfigError("\n".join(wrong))


def check_strategy(strategy: Strategy) -> None:
    """Raise :class:`ConfigError` if the strategy is DDP and does not look for unused parameters."""
    if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
        raise ConfigError(
            "DDP must look for unused parameters, since each player leaves the other's parameters unused, but it does "
            "not. Set trainer.strategy=ddp_find_unused_parameters_true."
        )

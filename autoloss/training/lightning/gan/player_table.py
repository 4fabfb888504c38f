"""The table of one player's losses, made from what a GAN problem gives for a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.gan.adversarial_loss import AdversarialLoss, InputPenalty
from autoloss.core.problem import Inputs, Outputs, Verdict
from autoloss.core.table import Entry, LossTable
from autoloss.training.lightning.gan.player import DISCRIMINATOR, GanPlayer
from autoloss.training.step.entries import chosen, each_sample, table_of


@dataclass(frozen=True, slots=True)
class Logits:
    """The discriminator's logits [B, ...] of ``real`` and of generated samples, and its mean ``loss``, a scalar."""

    real: Tensor
    fake: Tensor
    loss: Tensor


def player_table(player: GanPlayer, outputs: Outputs, clock: Clock, size: int) -> tuple[LossTable, list[Logits]]:
    """The table of the ``player``'s losses; the discriminator's table comes with its logits, for the pace.

    ``size`` is the number of samples B. A penalty on the input gradient is absent at steps that do not measure it.
    """
    logits: list[Logits] = []
    terms = dict(outputs.terms)
    for name, term in outputs.terms.items():
        if isinstance(term, Verdict):
            terms[name] = _verdict(player, name, term, size, logits)
        elif isinstance(term, Inputs):
            penalty = _penalty(player, name, term, clock, size)
            if penalty is None:
                del terms[name]
            else:
                terms[name] = penalty
    table = table_of(replace(outputs, terms=terms), player.losses, player, clock)
    for name in table.entries:
        entry = table.entry(name)
        if entry is not None and not entry.values.requires_grad:
            raise SignalError(
                f"A loss of the {player.name} must depend on the {player.name}, but {name!r} does not: no gradient "
                f"reaches the {player.name}. Compute it from the network's output, not detached and not under no_grad."
            )
    return table, logits


def _verdict(player: GanPlayer, name: str, verdict: Verdict, size: int, logits: list[Logits]) -> Entry:
    loss = chosen(name, player.losses)
    if not isinstance(loss, AdversarialLoss):
        raise ConfigError(
            f"Loss {name!r} must be adversarial, but {loss.title()!r} is not. Set losses.{name}=gan_hinge."
        )
    fake = _logits(verdict.fake, "generated", size)
    if player.name == DISCRIMINATOR:
        real = _logits(verdict.real() if callable(verdict.real) else verdict.real, "real", size)
        values = each_sample(name, loss, loss.discriminator(real, fake), size)
        logits.append(Logits(real.detach(), fake.detach(), values.detach().mean()))
        return Entry(values)
    if not loss.sees_real:
        return Entry(each_sample(name, loss, loss(fake, None), size))
    with torch.no_grad():
        real = _logits(verdict.real() if callable(verdict.real) else verdict.real, "real", size)
    return Entry(each_sample(name, loss, loss(fake, real), size))


def _penalty(player: GanPlayer, name: str, term: Inputs, clock: Clock, size: int) -> Entry | None:
    loss = chosen(name, player.losses)
    if not isinstance(loss, InputPenalty):
        raise ConfigError(
            f"Loss {name!r} must be a penalty on the input gradient, but {loss.title()!r} is none. "
            f"Set {player.name}.losses.{name}=r1."
        )
    if clock.step % loss.every:
        return None
    inputs = loss.inputs(term.real, term.fake)
    values = each_sample(name, loss, loss(_logits(term.judge(inputs), "penalised", size), inputs), size)
    # It is measured at one step in `every`, and stands for all of them.
    return Entry(loss.every * values, balanced=False)


def _logits(given: object, kind: str, size: int) -> Tensor:
    if not isinstance(given, Tensor) or given.dim() == 0 or given.shape[0] != size:
        found = f"{list(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ConfigError(
            f"The discriminator must give logits [{size}, ...] for a batch of {size}, but for the {kind} samples it "
            f"gave {found}."
        )
    return given

"""Computes the losses of a batch from the network's outputs for it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, check_known
from autoloss.core.loss import Loss, cleaned
from autoloss.core.problem import Inputs, Layers, Outputs, Term, Verdict
from autoloss.core.table import Entry, LossTable
from autoloss.training.step.player import Player


def table_of(outputs: Outputs, losses: Mapping[str, Loss], player: Player, clock: Clock) -> LossTable:
    """The losses of ``player`` for one batch: each term of ``outputs`` is compared by its loss.

    Raises an error where a term is not a loss of the player, or has no loss in ``losses``.
    """
    check_known("loss", outputs.terms, player.terms.names)
    entries = {name: _entry(name, term, outputs, losses, player, clock) for name, term in outputs.terms.items()}
    return LossTable(entries, outputs.anchor, outputs.index, outputs.keys)


def chosen(name: str, losses: Mapping[str, Loss]) -> Loss:
    """The loss of the term ``name``; raises :class:`ConfigError` if none was chosen."""
    if name not in losses:
        raise ConfigError(
            f"Loss {name!r} must be chosen, because outputs() gives it a prediction and target. Set losses.{name}."
        )
    return losses[name]


def each_sample(name: str, loss: Loss, values: object, size: int) -> Tensor:
    """``values`` of the loss ``name``; raises :class:`ConfigError` unless there is one for each sample, [size]."""
    if isinstance(values, Tensor) and values.shape == (size,):
        return values
    found = list(values.shape) if isinstance(values, Tensor) else f"of type {type(values).__name__}"
    raise ConfigError(
        f"A loss must give one value for each sample, [{size}], but {loss.title()!r} of {name!r} gave {found}. "
        "Average over all dimensions but the first: return per_sample(values)."
    )


def _entry(
    name: str,
    term: Term | Entry | Tensor | Verdict | Inputs | Layers,
    outputs: Outputs,
    losses: Mapping[str, Loss],
    player: Player,
    clock: Clock,
) -> Entry:
    if isinstance(term, Tensor):
        return Entry(term)
    if isinstance(term, Entry):
        return term
    loss = chosen(name, losses)
    if isinstance(term, Layers):
        size = next((len(layer) for layer in term.prediction), 0)
        return Entry(each_sample(name, loss, loss(term.prediction, term.target), size))
    if not isinstance(term, Term):
        raise ConfigError(f"Term {name!r} must belong to a GAN, but module=gan does not train it.")
    prediction, labels, mask = term.prediction, None, _mask(term, loss)
    if term.target.dim() == 1 and not term.target.is_floating_point():
        labels = cleaned(term.target, mask)
        if loss.ignore_index is not None:
            labels = labels * (labels != loss.ignore_index)
    if player.samples is not None and player.training:
        known = LossTable({name: Entry(prediction, labels=labels)}, index=outputs.index, keys=outputs.keys)
        prediction = player.samples.temper(name, prediction, known, clock)
    values = loss.masked(prediction, term.target, mask)
    if prediction.dim():
        each_sample(name, loss, values, len(prediction))
    return Entry(values, mask, term.balanced, labels)


def _mask(term: Term, loss: Loss) -> Tensor | None:
    """Which samples have a target, [B]."""
    if not term.nan_is_absent or not term.target.dim():
        return term.mask
    missing = term.target.isnan().reshape(len(term.target), -1)
    absent = missing.any(1)
    partly = absent & ~missing.all(1)
    rule = "A target must be NaN for all of a sample or for none (for a part, return Entry(values, mask))"
    loss.notices.forbid(rule, partly, torch.where(partly, torch.nan, 0.0))
    return ~absent if term.mask is None else term.mask & ~absent

"""Random streams of signals that could have been measured, and what may happen to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from autoloss.core.need import Need
from autoloss.core.signals import Signals, Stats

ITEMS = 4


def stream(names: Sequence[str], steps: int = 8, seed: int = 0, width: int = 16, device: str = "cpu") -> list[Signals]:
    """``steps`` signals of losses ``names`` that fall at different speeds, from 0.1 to 10 at first.

    Gram matrix and statistics come from one random Jacobian [K, 4 items, ``width``], whose rows grow
    with their losses; at odd steps the second opposes the first. A step takes up to a tenth off a
    loss of the same batch. An epoch is two steps; progress reaches 1.

    >>> first, second = stream(["a", "b"], steps=2)
    >>> first.gram.shape, second.step, second.progress
    (torch.Size([2, 2]), 1, 1.0)
    """
    size, source = len(names), torch.Generator().manual_seed(seed)
    start = 10 ** (2 * torch.rand(size, generator=source) - 1)
    speed = torch.rand(size, generator=source)
    noise = 0.1 * torch.randn(steps, size, generator=source)
    values = start * torch.exp(noise - speed * torch.arange(steps)[:, None] / 4)
    after = values * (1 - 0.1 * torch.rand(steps, size, generator=source))
    # A source of its own: the other numbers stay what they were. A third of the losses hurt at a time.
    alignment = values**2 * (torch.randn(steps, size, generator=torch.Generator().manual_seed(seed)) + 0.5)
    shared = 0.5 * torch.randn(steps, 1, ITEMS, width, generator=source)
    jacobian = shared + torch.randn(steps, size, ITEMS, width, generator=source)
    jacobian[1::2, 1:2] -= jacobian[1::2, :1]
    jacobian *= values[:, :, None, None]
    rows, magnitude = jacobian.flatten(2), jacobian.abs().flatten(2)
    grams = rows @ rows.mT
    item_norm, largest, mean = jacobian.norm(dim=3).mean(2), magnitude.amax(2), magnitude.mean(2)
    return [
        Signals(
            names=tuple(names),
            values=values[t].to(device),
            present=torch.ones(size, dtype=torch.bool, device=device),
            step=t,
            epoch=t // 2,
            progress=t / max(steps - 1, 1),
            measured_gram=grams[t].to(device),
            measured_stats=Stats(item_norm[t].to(device), largest[t].to(device), mean[t].to(device)),
            measured_after=after[t].to(device),
            measured_alignment=0.01 * alignment[t].to(device),
        )
        for t in range(steps)
    ]


def scaled(signals: Signals, losses: Sequence[float], gradients: Sequence[float] | None = None) -> Signals:
    """The signals of losses that are multiplied by ``losses`` [K]; of their gradients by ``gradients`` if given.

    Powers of 2 scale without rounding.
    """
    by = signals.values.new_tensor(losses)
    steep = by if gradients is None else signals.values.new_tensor(gradients)
    stats = signals.stats
    return replace(
        signals,
        values=signals.values * by,
        measured_gram=signals.gram * steep * steep[:, None],
        measured_stats=Stats(stats.item_norm * steep, stats.largest * steep, stats.mean * steep),
        measured_after=signals.after * by,
        measured_alignment=signals.alignment * steep,
    )


def permuted(signals: Signals, order: Sequence[int]) -> Signals:
    """The signals of the same losses in another ``order``, bit for bit."""
    index, stats = torch.tensor(order, device=signals.values.device), signals.stats
    return replace(
        signals,
        names=tuple(signals.names[i] for i in order),
        values=signals.values[index],
        present=signals.present[index],
        measured_gram=signals.gram[index][:, index],
        measured_stats=Stats(stats.item_norm[index], stats.largest[index], stats.mean[index]),
        measured_after=signals.after[index],
        measured_alignment=signals.alignment[index],
    )


def flat(signals: Signals, losses: Sequence[int]) -> Signals:
    """The signals when ``losses`` (by position) have no gradient at the anchor."""
    steep = [0.0 if i in losses else 1.0 for i in range(len(signals.names))]
    return scaled(signals, [1.0] * len(steep), steep)


def absent(signals: Signals, losses: Sequence[int], filler: float = 1.0) -> Signals:
    """The signals of a batch without ``losses`` (by position): gradients 0, values ``filler`` (1 in training)."""
    missing = torch.tensor([i in losses for i in range(len(signals.names))], device=signals.values.device)
    return replace(
        flat(signals, losses),
        values=signals.values.masked_fill(missing, filler),
        present=~missing,
        measured_after=signals.after.masked_fill(missing, filler),
    )


def poisoned(signals: Signals, losses: Sequence[int], value: float = math.nan) -> Signals:
    """The signals when ``losses`` (by position) are ``value``, and their gradients with them."""
    bad = torch.tensor([i in losses for i in range(len(signals.names))], device=signals.values.device)

    def put(x: Tensor) -> Tensor:
        return x.masked_fill(bad, value)

    stats = signals.stats
    return replace(
        signals,
        values=put(signals.values),
        measured_gram=signals.gram.masked_fill(bad | bad[:, None], value),
        measured_stats=Stats(put(stats.item_norm), put(stats.largest), put(stats.mean)),
        measured_after=put(signals.after),
        measured_alignment=put(signals.alignment),
    )


def only(signals: Signals, needs: Need) -> Signals:
    """The signals when exactly ``needs`` was measured: reading anything else raises ``SignalError``."""
    return replace(
        signals,
        measured_gram=signals.gram if Need.GRAM in needs else None,
        measured_stats=signals.stats if Need.STATS in needs else None,
        measured_after=signals.after if Need.LOOKAHEAD in needs else None,
        measured_alignment=signals.alignment if Need.ALIGNMENT in needs else None,
    )

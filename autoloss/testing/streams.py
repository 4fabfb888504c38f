"""Random streams of signals that could have been measured, and changes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from autoloss.core.measured.signal import AnySignal, Drawn
from autoloss.core.need import Need
from autoloss.core.signals import SIGNALS, Signals

ITEMS = 4


def stream(names: Sequence[str], steps: int = 8, seed: int = 0, width: int = 16, device: str = "cpu") -> list[Signals]:
    """``steps`` signals of losses ``names`` that fall at different speeds, from 0.1 to 10 at first.

    Gram matrix and statistics come from one random Jacobian [K, 4 items, ``width``], whose rows grow
    with their losses; at odd steps the second opposes the first. A step lowers a loss of the same
    batch by up to a tenth. An epoch is two steps; progress reaches 1.

    >>> first, second = stream(["a", "b"], steps=2)
    >>> first.gram.shape, second.step, second.progress
    (torch.Size([2, 2]), 1, 1.0)
    """
    size, source = len(names), torch.Generator().manual_seed(seed)
    start = 10 ** (2 * torch.rand(size, generator=source) - 1)
    speed = torch.rand(size, generator=source)
    noise = 0.1 * torch.randn(steps, size, generator=source)
    values = start * torch.exp(noise - speed * torch.arange(steps)[:, None] / 4)
    falls = torch.rand(steps, size, generator=source)
    shared = 0.5 * torch.randn(steps, 1, ITEMS, width, generator=source)
    jacobian = shared + torch.randn(steps, size, ITEMS, width, generator=source)
    jacobian[1::2, 1:2] -= jacobian[1::2, :1]
    jacobian *= values[:, :, None, None]
    drawn = Drawn(values, falls, jacobian, seed)
    measured = {signal: signal.drawn(drawn) for signal in SIGNALS}
    return [
        Signals(
            names=tuple(names),
            values=values[t].to(device),
            present=torch.ones(size, dtype=torch.bool, device=device),
            step=t,
            epoch=t // 2,
            progress=t / max(steps - 1, 1),
            **{signal.field: signal.map(partial(_at, t, device), value) for signal, value in measured.items()},
        )
        for t in range(steps)
    ]


def scaled(signals: Signals, losses: Sequence[float], gradients: Sequence[float] | None = None) -> Signals:
    """The signals of losses that are multiplied by ``losses`` [K]; of their gradients by ``gradients`` if given.

    Powers of 2 scale without rounding.
    """
    by = signals.values.new_tensor(losses)
    steep = by if gradients is None else signals.values.new_tensor(gradients)

    def change(signal: AnySignal, x: Tensor) -> Tensor:
        factor = steep if signal.steep else by
        return x * factor * factor[:, None] if signal.axes == 2 else x * factor

    return _changed(signals, change, values=signals.values * by)


def permuted(signals: Signals, order: Sequence[int]) -> Signals:
    """The signals of the same losses in another ``order``, bit for bit."""
    index = torch.tensor(order, device=signals.values.device)
    return _changed(
        signals,
        lambda signal, x: x[index][:, index] if signal.axes == 2 else x[index],
        names=tuple(signals.names[i] for i in order),
        values=signals.values[index],
        present=signals.present[index],
    )


def flat(signals: Signals, losses: Sequence[int]) -> Signals:
    """The signals when ``losses`` (by position) have no gradient at the anchor."""
    steep = [0.0 if i in losses else 1.0 for i in range(len(signals.names))]
    return scaled(signals, [1.0] * len(steep), steep)


def absent(signals: Signals, losses: Sequence[int], filler: float = 1.0) -> Signals:
    """The signals of a batch without ``losses`` (by position): gradients 0, values ``filler`` (1 in training)."""
    missing = torch.tensor([i in losses for i in range(len(signals.names))], device=signals.values.device)

    def change(signal: AnySignal, x: Tensor) -> Tensor:
        if signal.steep:  # The gradients are 0 already.
            return x
        return x.masked_fill(missing, filler if signal.absent == 1 else signal.absent)

    return _changed(flat(signals, losses), change, values=signals.values.masked_fill(missing, filler), present=~missing)


def poisoned(signals: Signals, losses: Sequence[int], value: float = math.nan) -> Signals:
    """The signals when ``losses`` (by position) are ``value``, and their gradients with them."""
    bad = torch.tensor([i in losses for i in range(len(signals.names))], device=signals.values.device)

    def change(signal: AnySignal, x: Tensor) -> Tensor:
        return x.masked_fill(bad | bad[:, None] if signal.axes == 2 else bad, value)

    return _changed(signals, change, values=signals.values.masked_fill(bad, value))


def only(signals: Signals, needs: Need) -> Signals:
    """The signals when exactly ``needs`` was measured: reading anything else raises ``SignalError``."""
    return _with(signals, {one.field: None for one in SIGNALS if one.need not in needs})


def _at(t: int, device: str, x: Tensor) -> Tensor:
    return x[t].to(device)


def _changed(signals: Signals, change: Callable[[AnySignal, Tensor], Tensor], **others: Any) -> Signals:
    """``signals`` with ``change(signal, tensor)`` in the place of each tensor that was measured, and ``others``."""
    known = {one: value for one in SIGNALS if (value := getattr(signals, one.field)) is not None}
    return _with(signals, {one.field: one.map(partial(change, one), value) for one, value in known.items()} | others)


def _with(signals: Signals, fields: Mapping[str, Any]) -> Signals:
    return replace(signals, **fields)

"""A network that gives a field and its derivatives along each axis in one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss.core.errors import require


@dataclass(frozen=True, slots=True)
class Jet:
    """A field at N points: ``value`` [N], and for each of D axes the ``first`` and ``second`` derivatives [D, N]."""

    value: Tensor
    first: Tensor
    second: Tensor


class Field(nn.Module):
    """Maps points [N, D] of the box from ``low`` to ``high`` to one number each: tanh layers, Glorot's initialisation.

    Points are scaled to [-1, 1] before the first layer; derivatives are with respect to the points as given.
    """

    shift: Tensor
    scale: Tensor
    layers: list[nn.Linear]

    def __init__(self, low: Sequence[float], high: Sequence[float], hidden: Sequence[int]) -> None:
        super().__init__()
        require(
            len(hidden) > 0 and all(isinstance(width, int) and width > 0 for width in hidden),
            "`hidden` must have widths of at least 1",
            f"hidden={list(hidden)}",
        )
        ends = torch.tensor([list(low), list(high)])
        self.register_buffer("shift", ends.mean(0))
        self.register_buffer("scale", 2 / (ends[1] - ends[0]))
        layers = [nn.Linear(before, after) for before, after in pairwise([len(low), *hidden, 1])]
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]  # a list that registers its parameters
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, points: Tensor) -> Tensor:
        """The field's values [N]."""
        at = (points - self.shift) * self.scale
        for layer in self.layers[:-1]:
            at = layer(at).tanh()
        return self.layers[-1](at).squeeze(-1)

    def slopes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The field's values [N] and first derivatives [D, N]; cheaper than :meth:`jet`."""
        value, slope = self._enter(points)
        for layer in self.layers[1:]:
            value = value.tanh()
            slope = functional.linear((1 - value * value) * slope, layer.weight)
            value = layer(value)
        return value.squeeze(-1), slope.squeeze(-1)

    def jet(self, points: Tensor) -> Jet:
        """The field's values and derivatives, carried through the layers by the chain rule.

        A differentiable forward pass: one backward where two nested ``autograd.grad`` need three, and it works under
        ``no_grad`` too.
        """
        value, slope = self._enter(points)
        curve = torch.zeros_like(slope)
        axes = len(slope)
        for layer in self.layers[1:]:
            value = value.tanh()
            rate = 1 - value * value
            curve = rate * (curve - 2 * value * slope * slope)
            slope = rate * slope
            both = functional.linear(torch.cat([slope, curve]), layer.weight)
            value, (slope, curve) = layer(value), both.split(axes)
        return Jet(value.squeeze(-1), slope.squeeze(-1), curve.squeeze(-1))

    def _enter(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """What the first layer gives [N, F], and its slopes, the same at every point [D, 1, F]."""
        first = self.layers[0]
        return first((points - self.shift) * self.scale), (first.weight * self.scale).T.unsqueeze(1)

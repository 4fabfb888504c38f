"""A network that gives a field and its derivatives along each axis in one forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss.core.errors import require


@dataclass(frozen=True, slots=True)
class Jet:
    """A field at N points: ``value`` [N], and for each of D axes the ``first`` and ``second`` derivatives [D, N].

    A field of C numbers at each point has a last axis of that length: [N, C] and [D, N, C].
    """

    value: Tensor
    first: Tensor
    second: Tensor


class Field(nn.Module):
    """Maps points [N, D] of the box from ``low`` to ``high`` to one number each: tanh layers, Glorot's initialisation.

    Points are scaled to [-1, 1] before the first layer; derivatives are with respect to the points as given.
    ``outputs`` numbers at each point if more than one are asked for. ``waves`` above 0 makes the field periodic along
    the first axis, exactly: the layers see cos(k pi x) and sin(k pi x) of its scaled coordinate x, k = 1 to ``waves``,
    in its place.
    """

    shift: Tensor
    scale: Tensor
    layers: list[nn.Linear]

    def __init__(
        self, low: Sequence[float], high: Sequence[float], hidden: Sequence[int], outputs: int = 1, waves: int = 0
    ) -> None:
        super().__init__()
        require(
            len(hidden) > 0 and all(isinstance(width, int) and width > 0 for width in hidden),
            "`hidden` must have widths of at least 1",
            f"hidden={list(hidden)}",
        )
        ends = torch.tensor([list(low), list(high)])
        self.register_buffer("shift", ends.mean(0))
        self.register_buffer("scale", 2 / (ends[1] - ends[0]))
        self.outputs, self.waves = outputs, waves
        inputs = len(low) + (2 * waves - 1 if waves else 0)
        layers = [nn.Linear(before, after) for before, after in pairwise([inputs, *hidden, outputs])]
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]  # a list that registers its parameters
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, points: Tensor) -> Tensor:
        """The field's values [N], or [N, C]."""
        at = (points - self.shift) * self.scale
        if self.waves:
            angle = self._angles(at)
            at = torch.cat([angle.cos(), angle.sin(), at[:, 1:]], dim=1)
        for layer in self.layers[:-1]:
            at = layer(at).tanh()
        return self._field(self.layers[-1](at))

    def slopes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The field's values [N] and first derivatives [D, N]; cheaper than :meth:`jet`."""
        value, slope, _ = self._enter(points)
        for layer in self.layers[1:]:
            value = value.tanh()
            slope = functional.linear((1 - value * value) * slope, layer.weight)
            value = layer(value)
        return self._field(value), self._field(slope)

    def jet(self, points: Tensor) -> Jet:
        """The field's values and derivatives, carried through the layers by the chain rule.

        A differentiable forward pass: one backward where two nested ``autograd.grad`` need three, and it works under
        ``no_grad`` too.
        """
        value, slope, curve = self._enter(points)
        axes = len(slope)
        for layer in self.layers[1:]:
            value = value.tanh()
            rate = 1 - value * value
            curve = rate * (curve - 2 * value * slope * slope)
            slope = rate * slope
            both = functional.linear(torch.cat([slope, curve]), layer.weight)
            value, (slope, curve) = layer(value), both.split(axes)
        return Jet(self._field(value), self._field(slope), self._field(curve))

    def _enter(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the first layer gives [N, F], and its first and second derivatives [D, N, F] along the axes.

        They are the same at every point ([D, 1, F], and 0) if no axis is periodic.
        """
        first, at = self.layers[0], (points - self.shift) * self.scale
        if not self.waves:
            slope = (first.weight * self.scale).T.unsqueeze(1)
            return first(at), slope, torch.zeros_like(slope)
        angle, plain = self._angles(at), at[:, 1:]
        rate = self._rates(at) * self.scale[0]
        inputs = torch.cat([angle.cos(), angle.sin(), plain], dim=1)
        along = torch.cat([-rate * angle.sin(), rate * angle.cos(), torch.zeros_like(plain)], dim=1)
        bend = torch.cat([-(rate**2) * angle.cos(), -(rate**2) * angle.sin(), torch.zeros_like(plain)], dim=1)
        others = (first.weight[:, 2 * self.waves :] * self.scale[1:]).T.unsqueeze(1).expand(-1, len(points), -1)
        slope = torch.cat([functional.linear(along, first.weight).unsqueeze(0), others])
        curve = torch.cat([functional.linear(bend, first.weight).unsqueeze(0), torch.zeros_like(others)])
        return first(inputs), slope, curve

    def _rates(self, at: Tensor) -> Tensor:
        """The angle of each wave for a unit of the scaled coordinate [W]."""
        return math.pi * torch.arange(1, self.waves + 1, dtype=at.dtype, device=at.device)

    def _angles(self, at: Tensor) -> Tensor:
        """The angle [N, W] of each wave at the scaled points."""
        return at[:, :1] * self._rates(at)

    def _field(self, of: Tensor) -> Tensor:
        """``of`` without its last axis if the field is one number at each point."""
        return of.squeeze(-1) if self.outputs == 1 else of

"""What a part of a step has to say for the record, beside losses and weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Noted:
    """The notes of one step by tag: scalars, and the values of distributions."""

    scalars: dict[str, Tensor | float] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)


class Notes:
    """Takes notes for the record without waiting for the device; the last one of a step under a tag counts.

    A tag is a kind, or a kind and a name: ``accuracy``, ``sample_weight/depth``. Where a module has two players the
    record puts the player's name behind the kind: ``accuracy/discriminator``, ``sample_weight/generator/rec``.
    Whatever is noted costs nothing in a step that is not recorded.

    >>> notes = Notes()
    >>> notes.scalar("in_use", 0.5)
    >>> notes.histogram("sample_weight/depth", torch.rand(64))
    >>> list(notes.take().values)
    ['sample_weight/depth']
    """

    def __init__(self) -> None:
        self._noted = Noted()

    def scalar(self, tag: str, value: Tensor | float) -> None:
        """Note one number: a column of ``trajectory.csv`` and a chart in TensorBoard."""
        self._noted.scalars[tag] = value.detach() if isinstance(value, Tensor) else value

    def histogram(self, tag: str, values: Tensor) -> None:
        """Note a distribution: a histogram in TensorBoard; the columns ``tag/p10``, ``tag/p50``, ``tag/p90``."""
        self._noted.values[tag] = values.detach()

    def take(self) -> Noted:
        """Remove and return what was noted."""
        noted, self._noted = self._noted, Noted()
        return noted


def quantiles(values: Tensor, parts: int = 20) -> Tensor:
    """The ``parts + 1`` quantiles of ``values``, evenly spaced from the smallest to the largest; NaN for none."""
    flat = values.reshape(-1).float()
    if flat.numel() == 0:
        return flat.new_full((parts + 1,), float("nan"))
    ranked = flat.sort().values
    # By whole ranks and without an index tensor, whose copy to the device would wait for it.
    last = flat.numel() - 1
    return torch.stack([ranked[round(last * i / parts)] for i in range(parts + 1)])

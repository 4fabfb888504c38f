"""Further numbers of a step for the record, beside losses and weights."""

from __future__ import annotations

import torch
from torch import Tensor


class Notes:
    """Collects what else is to be recorded of a step, by tag: ``scalars``, and the ``values`` of distributions.

    It never waits for the device. If a tag is noted twice in a step, the last note counts.

    A tag is a kind, or a kind and a name: ``accuracy``, ``sample_weight/depth``. Where a module has two players the
    record puts the player's name behind the kind: ``accuracy/discriminator``, ``sample_weight/generator/rec``.
    Notes of a step that is not recorded cost nothing.

    >>> notes = Notes()
    >>> notes.scalar("in_use", 0.5)
    >>> notes.histogram("sample_weight/depth", torch.rand(64))
    >>> list(notes.take().values)
    ['sample_weight/depth']
    """

    def __init__(self) -> None:
        self.scalars: dict[str, Tensor | float] = {}
        self.values: dict[str, Tensor] = {}

    def scalar(self, tag: str, value: Tensor | float) -> None:
        """Note one number: a column of ``trajectory.csv`` and a chart in TensorBoard."""
        self.scalars[tag] = value.detach() if isinstance(value, Tensor) else value

    def histogram(self, tag: str, values: Tensor) -> None:
        """Note a distribution: a histogram in TensorBoard; the columns ``tag/p10``, ``tag/p50``, ``tag/p90``."""
        self.values[tag] = values.detach()

    def take(self) -> Notes:
        """Remove and return what was noted."""
        taken = Notes()
        taken.scalars, taken.values = self.scalars, self.values
        self.scalars, self.values = {}, {}
        return taken


def quantiles(values: Tensor, parts: int = 20) -> Tensor:
    """The ``parts + 1`` quantiles of ``values``, evenly spaced from the smallest to the largest; NaN for none."""
    flat = values.reshape(-1).float()
    if flat.numel() == 0:
        return flat.new_full((parts + 1,), float("nan"))
    ranked = flat.sort().values
    # By whole ranks and without an index tensor, whose copy to the device would wait for it.
    last = flat.numel() - 1
    return torch.stack([ranked[round(last * i / parts)] for i in range(parts + 1)])

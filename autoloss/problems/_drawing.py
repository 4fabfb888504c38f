"""How the training points of a differential equation are drawn: once, or anew for each batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.problems._tensors import Batch, TensorTable

DEFAULT = 12800
Draw = Callable[[int, torch.Generator], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How many points an epoch has, and whether they are ``kept``: the same ones in each epoch.

    >>> Drawing.read("resampled:512")
    Drawing(count=512, kept=False)
    >>> Drawing.read("kept"), Drawing.read(100)
    (Drawing(count=12800, kept=True), Drawing(count=100, kept=True))
    """

    count: int
    kept: bool

    @classmethod
    def read(cls, given: int | str) -> Drawing:
        """A number, ``kept`` or ``resampled``, or either of them with a number, ``kept:512``."""
        found = re.fullmatch(r"(?:(kept|resampled)(?::(\d+))?|(\d+))", str(given).strip())
        count = int(found[2] or found[3] or DEFAULT) if found else 0
        good = found is not None and count >= 1
        advice = "Write 512, kept, kept:512, resampled or resampled:512."
        require(good, "`points` must be at least 1, and kept or resampled", f"points={given}", advice)
        assert found is not None
        return cls(count, found[1] != "resampled")


class ResampledPoints(TensorTable):
    """Points that are new in each batch; an epoch has as many as are kept otherwise.

    A batch's points follow from the seed and from the rows that were asked for, in their order, which differs from
    epoch to epoch. So nothing has to be kept between batches, and a run that goes on draws what it would have drawn.
    The rows have no index: a rule that keeps a number for each point must not take them for the same points.
    """

    def __init__(self, draw: Draw, count: int, seed: int) -> None:
        super().__init__(**draw(count, torch.Generator().manual_seed(seed)))
        self.draw, self.seed = draw, seed

    def __getitem__(self, index: int) -> Batch:
        return {name: column[0] for name, column in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        # A hash of whole numbers is the same in each process.
        generator = torch.Generator().manual_seed(hash((self.seed, *indices)) % 2**63)
        return dict(self.draw(len(indices), generator))

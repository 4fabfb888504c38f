"""Which losses are the goal, and which are there to help."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, device

from autoloss.core.errors import ConfigError, check_known, require
from autoloss.core.tensors.constants import flags


class Main:
    """The ``main`` losses that a user named, one or several."""

    def __init__(self, main: str | Sequence[str]) -> None:
        self.main = (main,) if isinstance(main, str) else tuple(main)
        require(len(self.main) > 0, "`main` must name a loss", "it is empty")

    def check(self, names: Sequence[str]) -> None:
        """Raise unless all are among the losses ``names``, and some loss is not main."""
        check_known("loss", self.main, names)
        if set(names) <= set(self.main):
            raise ConfigError("Some loss must help the main ones, but all are main. Name the goal only.")

    def flags(self, names: Sequence[str], where: device) -> Tensor:
        """Which of ``names`` are main, [K]."""
        return flags(tuple(name in self.main for name in names), where)

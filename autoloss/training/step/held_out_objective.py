"""What is to become lower on held-out data: the logarithms of the losses there, or the losses themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, check_known
from autoloss.core.table import Reduced
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.core.terms import Terms

OBJECTIVES = ("log", "sum")


class HeldOutObjective:
    """The held-out objective of the losses ``terms``, over the ``primary`` ones (all if none is named).

    ``log``: the sum of the units' logarithms, ``sum_u log(sum_{i in u} b_i L_i)`` with the base weights b. A unit is a
    group, or a loss on its own. So a change counts by its ratio, as in the score of a leaderboard: a loss's scale does
    not matter, nor does its base weight, unless that is 0, which leaves the loss out. A unit that is 0 has no part.
    ``sum``: the base-weighted sum of the losses, in which a loss of 0.02 hardly counts beside one of 0.5.

    The logarithm of a negative loss is an error that ``see`` raises, which is given the units' values: at once on a
    CPU, later on an accelerator.
    """

    def __init__(self, terms: Terms, primary: Sequence[str], kind: str, see: Callable[[Tensor], None]) -> None:
        check_primary(primary, terms.names)
        check_objective(kind)
        self.terms, self.kind, self.see = terms, kind, see
        self.primary = [i for i, name in enumerate(terms.names) if not primary or name in primary]

    def of(self, losses: Reduced) -> Tensor:
        """A scalar whose gradient, averaged over the ranks, is that of the objective; its value means nothing.

        In a fleet losses and base weights have an axis of m members, and so has the result.
        """
        base = self.terms.base
        here = {i: base[i] * scalar for i in self.primary if (scalar := losses.scalars[i]) is not None}
        if not here:
            names = ", ".join(self.terms.names[i] for i in self.primary)
            raise ConfigError(f"A held-out batch must have one of the losses {names}, but it has none of them.")
        if self.kind == "sum":
            return torch.stack(list(here.values())).sum(0)
        zero = torch.zeros_like(next(iter(here.values())))
        units = torch.stack([sum((here[i] for i in members if i in here), zero) for members in self.terms.members])
        # The logarithm of a mean over ranks is not the mean of their logarithms: all divide by the mean.
        values = sum_over_ranks(units.detach()) / world_size()
        self.see(values)
        rate = torch.where(values > 0, 1 / values.clamp(min=torch.finfo(values.dtype).tiny), 0.0)
        return (units * rate).sum(0)


def check_primary(primary: Sequence[str], names: Sequence[str]) -> None:
    """Raise unless all ``primary`` losses are among ``names``."""
    check_known("loss", primary, names)


def check_objective(kind: str) -> None:
    """Raise unless ``kind`` is a held-out objective."""
    check_known("held-out objective", [kind], OBJECTIVES)

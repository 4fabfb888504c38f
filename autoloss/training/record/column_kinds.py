"""Every kind of column that the record has, and how its numbers are computed: a new number is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import sqrt

from torch import Tensor

from autoloss.core.signals import AT_ANCHOR
from autoloss.core.terms import Terms
from autoloss.training.step.weigh import Weighed

NAN = float("nan")
# What a signal says of its own columns: kind -> the tensor that it is read from.
OF_SIGNALS = {kind: key for signal in AT_ANCHOR for kind, key in signal.columns.items()}


def kept(weighed: Weighed) -> dict[str, Tensor]:
    """The tensors of a step from which several kinds of columns are computed."""
    losses = weighed.losses
    found = {"weight": weighed.weights, "raw": losses.values, "present": losses.present, "total": weighed.total}
    if (measured := weighed.probed or weighed.measured) is not None:
        found["reached"] = measured.reached
        for signal in AT_ANCHOR:
            if (value := measured.signals.get(signal.name)) is not None:
                found |= signal.tensors(value)
    return found


@dataclass(frozen=True)
class StepNumbers:
    """One step of a player as numbers, from the tensors that were ``kept`` of it; NaN for an absent loss.

    Lists about gradients are empty where none were measured.
    """

    terms: Terms
    kept: Mapping[str, Sequence[float]]

    @cached_property
    def present(self) -> list[bool]:
        """Which losses this batch had, [N]."""
        return [bool(present) for present in self.kept["present"]]

    @cached_property
    def weights(self) -> list[float]:
        """The effective weights, [N]."""
        return [w if p else NAN for w, p in zip(self.kept["weight"], self.present, strict=True)]

    @cached_property
    def raw(self) -> list[float]:
        """The losses, [N]."""
        return [x if p else NAN for x, p in zip(self.kept["raw"], self.present, strict=True)]

    @cached_property
    def weighted(self) -> list[float]:
        """The losses times their weights, [N]."""
        return [w * x for w, x in zip(self.weights, self.raw, strict=True)]

    @cached_property
    def reached(self) -> list[bool]:
        """Which units have a gradient at the anchor, [K]."""
        pairs = zip(self.kept.get("reached", ()), self.terms.members, strict=False)
        return [bool(reached) and any(self.present[i] for i in members) for reached, members in pairs]

    def statistic(self, key: str) -> list[float | None]:
        """A statistic of the units' gradients, [K]; ``None`` for a unit without one."""
        values = self.kept.get(key, ())
        return [x if reached else None for x, reached in zip(values, self.reached, strict=False)]

    @cached_property
    def norms(self) -> list[float]:
        """The norms of the units' gradients, [K]; NaN for a unit without one."""
        if not self.reached:
            return []
        gram, size = self.kept.get("gram"), len(self.terms.units)
        norms = self.kept["item_norm"] if gram is None else [sqrt(max(gram[i * size + i], 0.0)) for i in range(size)]
        return [norm if reached else NAN for norm, reached in zip(norms, self.reached, strict=True)]

    @cached_property
    def factors(self) -> list[float]:
        """The factor of each unit's gradient in the total's, [K]; a group's gradient has its base weights in it."""
        factors, weights, base = [], self.kept["weight"], self.kept.get("base", self.terms.base)
        for members, grouped in zip(self.terms.members, self.terms.grouped, strict=True):
            i = next((i for i in members if self.present[i] and base[i]), members[0])
            factors.append(weights[i] / (base[i] or 1.0) if grouped else weights[i])
        return factors

    @cached_property
    def pulls(self) -> list[float]:
        """The norms of the units' gradients times their factors, [K]."""
        return [factor * norm for factor, norm in zip(self.factors, self.norms, strict=False)]

    @cached_property
    def cosines(self) -> list[list[float]]:
        """The cosines between the units' gradients, [K, K]; NaN where one has none."""
        gram, norms, size = self.kept.get("gram"), self.norms, len(self.terms.units)
        if gram is None:
            return []
        return [
            [gram[i * size + j] / (norms[i] * norms[j]) if norms[i] * norms[j] > 0 else NAN for j in range(size)]
            for i in range(size)
        ]

    @cached_property
    def pairs(self) -> list[float]:
        """The cosine of each pair of units, in the order of :func:`pairs`."""
        return [self.cosines[i][j] for i, j in combinations(range(len(self.cosines)), 2)]


CATEGORIES = ("weights", "losses", "gradients")  # of charts, in the order in which TensorBoard shows them
Names = Callable[[Terms], Sequence[tuple[str, ...]]]


def losses(terms: Terms) -> list[tuple[str, ...]]:
    """A column for each loss."""
    return [(name,) for name in terms.names]


def units(terms: Terms) -> list[tuple[str, ...]]:
    """A column for each unit."""
    return [(unit,) for unit in terms.units]


def pairs(terms: Terms) -> list[tuple[str, ...]]:
    """A column for each pair of units."""
    return list(combinations(terms.units, 2))


def total(terms: Terms) -> list[tuple[str, ...]]:
    """One column, called ``total``."""
    return [("total",)]


def one(terms: Terms) -> list[tuple[str, ...]]:
    """One column without a name of its own."""
    return [()]


@dataclass(frozen=True, slots=True)
class ColumnKind:
    """One kind of column: the columns ``kind/player/name``, for each of the ``names``.

    ``numbers`` computes their cells from a step, in the order of ``names``; ``None`` leaves a cell out, and an empty
    list all of them. ``tensor`` is what must be kept of a step for this kind alone, if anything: ``step.kept[kind]``.
    Columns that are there ``always`` stand in the file from the start, others from the first step that has them.
    ``chart`` is the title of a chart in TensorBoard that shows the kind's columns together, below others of its kind.
    """

    kind: str
    names: Names
    numbers: Callable[[StepNumbers], Sequence[float | None]]
    tensor: Callable[[Weighed], Tensor | None] | None = None
    always: bool = False
    chart: str = ""

    @property
    def category(self) -> str:
        """Where its chart stands on TensorBoard's page, which shows weights first."""
        return CATEGORIES[0] if self.kind == "loss_weight" else CATEGORIES[1 + self.kind.startswith("grad_")]


def _statistic(kind: str, key: str) -> ColumnKind:
    return ColumnKind(kind, units, lambda step: step.statistic(key))


# In the order of the columns in the file.
COLUMN_KINDS: tuple[ColumnKind, ...] = (
    ColumnKind("loss_weight", losses, lambda step: step.weights, always=True, chart="loss weights"),
    ColumnKind("loss_raw", losses, lambda step: step.raw, always=True, chart="raw losses"),
    ColumnKind("loss_weighted", losses, lambda step: step.weighted, always=True, chart="weighted losses"),
    ColumnKind("loss_share", losses, lambda step: shares(step.weighted), always=True, chart="shares of the total"),
    ColumnKind("loss", total, lambda step: step.kept["total"], always=True),
    *(_statistic(kind, key) for kind, key in OF_SIGNALS.items()),
    ColumnKind("grad_norm", units, lambda step: step.norms, chart="gradient norms"),
    ColumnKind("grad_share", units, lambda step: shares(step.pulls), chart="shares of the gradient"),
    ColumnKind("grad_cosine", pairs, lambda step: step.pairs),
    ColumnKind("grad_cosine_min", one, lambda step: lowest(step.pairs)),
)


def shares(parts: Sequence[float]) -> list[float]:
    """The share of each of ``parts`` in the sum of their magnitudes; NaN stays NaN and does not count.

    >>> shares([3.0, -1.0])
    [0.75, 0.25]
    """
    whole = sum(abs(x) for x in parts if x == x)
    return [abs(x) / whole if whole > 0 else NAN for x in parts]


def lowest(values: Sequence[float]) -> list[float]:
    """The lowest of ``values`` that is not NaN, as a list of one; empty if there are no values."""
    return [min((x for x in values if x == x), default=NAN)] if values else []

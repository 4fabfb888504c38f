"""The columns of one player in the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from autoloss.core.terms import Terms
from autoloss.training.record.column_kinds import COLUMN_KINDS, ColumnKind, StepNumbers, kept
from autoloss.training.step.notes import Notes, quantiles
from autoloss.training.step.weigh import Weighed

PERCENTILES = {"p10": 2, "p50": 10, "p90": 18}  # places among 21 quantiles
Numbers = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class PlayerColumns:
    """The columns of a player's losses and units; ``player`` is its name (empty for a single player)."""

    terms: Terms
    player: str = ""

    def tag(self, kind: str, *names: str) -> str:
        """``kind/player/name``."""
        return "/".join(part for part in (kind, self.player, *names) if part)

    def tags(self) -> list[str]:
        """The columns that every record has."""
        return [self.tag(of.kind, *names) for of in COLUMN_KINDS if of.always for names in of.names(self.terms)]

    def charts(self) -> dict[ColumnKind, list[str]]:
        """The tags of each kind whose columns a chart shows together."""
        shown = [of for of in COLUMN_KINDS if of.chart]
        return {of: [self.tag(of.kind, *names) for names in of.names(self.terms)] for of in shown}

    def tensors(self, weighed: Weighed, notes: Notes) -> dict[str, Tensor]:
        """The tensors that are kept of a step, on its device and without waiting for it."""
        found = kept(weighed)
        if self.terms.base_schedules or self.terms.learned:
            found["base"] = self.terms.factors(weighed.weights.device)
        for of in COLUMN_KINDS:
            if of.tensor is not None and (tensor := of.tensor(weighed)) is not None:
                found[of.kind] = tensor
        for tag, value in notes.scalars.items():
            found[f"scalar {tag}"] = value if isinstance(value, Tensor) else weighed.losses.values.new_full((), value)
        for one in weighed.sampled:
            found |= {f"scalar {kind}/{one.samples.term}": value for kind, value in one.numbers().items()}
            found[f"values sample_weight/{one.samples.term}"] = quantiles(one.weights)
        found |= {f"values {tag}": quantiles(values) for tag, values in notes.values.items()}
        return {f"{self.player} {key}": tensor for key, tensor in found.items()}

    def columns(self, numbers: Numbers) -> dict[str, float]:
        """The cells of one step by tag; NaN for a loss that was absent."""
        mine = self._mine(numbers)
        if not mine:
            return {}
        step = StepNumbers(self.terms, mine)
        found: dict[str, float] = {}
        for of in COLUMN_KINDS:
            if cells := of.numbers(step):
                pairs = zip(of.names(self.terms), cells, strict=True)
                found |= {self.tag(of.kind, *names): cell for names, cell in pairs if cell is not None}
        for key, values in mine.items():
            what, _, tag = key.partition(" ")
            kind, _, name = tag.partition("/")
            if what == "scalar":
                found[self.tag(kind, name)] = values[0]
            elif what == "values":
                found |= {self.tag(kind, name, part): values[place] for part, place in PERCENTILES.items()}
        return found

    def distributions(self, numbers: Numbers) -> dict[str, Sequence[float]]:
        """The quantiles of each distribution of one step, by tag."""
        found = {}
        for key, values in self._mine(numbers).items():
            what, _, tag = key.partition(" ")
            kind, _, name = tag.partition("/")
            if what == "values":
                found[self.tag(kind, name)] = values
        return found

    def cosines(self, numbers: Numbers) -> list[list[float]]:
        """The cosines between the units' gradients, [K, K]; empty where none were measured."""
        mine = self._mine(numbers)
        return StepNumbers(self.terms, mine).cosines if mine else []

    def _mine(self, numbers: Numbers) -> dict[str, Sequence[float]]:
        return {key.partition(" ")[2]: of for key, of in numbers.items() if key.partition(" ")[0] == self.player}

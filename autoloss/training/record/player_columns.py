"""One player's part of the record: what is noted on the device, and the columns that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

from torch import Tensor

from autoloss.core.signals import AT_ANCHOR
from autoloss.core.terms import Terms
from autoloss.training.step.notes import Noted, quantiles
from autoloss.training.step.weigh import Weighed

NAN = float("nan")
PERCENTILES = {"p10": 2, "p50": 10, "p90": 18}  # places among 21 quantiles
Numbers = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Side:
    """A player's losses and units, by the ``player``'s name (empty where there is but one)."""

    terms: Terms
    player: str = ""

    def tag(self, kind: str, *names: str) -> str:
        """``kind/player/name``."""
        return "/".join(part for part in (kind, self.player, *names) if part)

    def tags(self) -> list[str]:
        """The columns that every record has."""
        kinds = ("loss_weight", "loss_raw", "loss_weighted", "loss_share")
        return [self.tag(kind, name) for kind in kinds for name in self.terms.names] + [self.tag("loss", "total")]

    def tensors(self, weighed: Weighed, noted: Noted) -> dict[str, Tensor]:
        """What a step is recorded by, on its device and without waiting for it."""
        losses = weighed.losses
        found = {"weight": weighed.weights, "raw": losses.values, "present": losses.present, "total": weighed.total}
        if (measured := weighed.probed or weighed.measured) is not None:
            found["reached"] = measured.reached
            for signal in AT_ANCHOR:
                if (value := measured.signals.get(signal.name)) is not None:
                    found |= signal.tensors(value)
        for tag, value in noted.scalars.items():
            found[f"scalar {tag}"] = value if isinstance(value, Tensor) else losses.values.new_full((), value)
        for one in weighed.sampled:
            found |= {f"scalar {kind}/{one.samples.term}": value for kind, value in one.numbers().items()}
            found[f"values sample_weight/{one.samples.term}"] = quantiles(one.weights)
        found |= {f"values {tag}": quantiles(values) for tag, values in noted.values.items()}
        return {f"{self.player} {key}": tensor for key, tensor in found.items()}

    def columns(self, numbers: Numbers) -> dict[str, float]:
        """The numbers of one step by tag; NaN for a loss that was absent."""
        mine = self._mine(numbers)
        if "weight" not in mine:
            return {}
        here = [bool(present) for present in mine["present"]]
        weights = [w if p else NAN for w, p in zip(mine["weight"], here, strict=True)]
        raw = [x if p else NAN for x, p in zip(mine["raw"], here, strict=True)]
        weighted = [w * x for w, x in zip(weights, raw, strict=True)]
        of = {"loss_weight": weights, "loss_raw": raw, "loss_weighted": weighted, "loss_share": shares(weighted)}
        found = {self.tag(kind, n): x for kind, xs in of.items() for n, x in zip(self.terms.names, xs, strict=True)}
        found[self.tag("loss", "total")] = mine["total"][0]
        found |= self._gradients(mine, here)
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

    def cosines(self, numbers: Numbers) -> list[list[float]] | None:
        """The cosines between the units' gradients, [K, K]; NaN where one has none; ``None`` if not measured."""
        gram = self._mine(numbers).get("gram")
        if gram is None:
            return None
        size = len(self.terms.units)
        norms = [sqrt(max(gram[i * size + i], 0.0)) for i in range(size)]
        return [
            [gram[i * size + j] / (norms[i] * norms[j]) if norms[i] * norms[j] > 0 else NAN for j in range(size)]
            for i in range(size)
        ]

    def _mine(self, numbers: Numbers) -> dict[str, Sequence[float]]:
        return {key.partition(" ")[2]: of for key, of in numbers.items() if key.partition(" ")[0] == self.player}

    def _gradients(self, mine: Numbers, here: Sequence[bool]) -> dict[str, float]:
        units, size = self.terms.units, len(self.terms.units)
        if "reached" not in mine:
            return {}
        known = [
            bool(reached) and any(here[i] for i in members)
            for reached, members in zip(mine["reached"], self.terms.members, strict=True)
        ]
        found: dict[str, float] = {}
        columns = {kind: key for signal in AT_ANCHOR for kind, key in signal.columns.items()}
        for kind, key in columns.items():
            found |= {self.tag(kind, u): x for u, x, k in zip(units, mine.get(key, ()), known, strict=False) if k}
        gram = mine.get("gram")
        norms = mine["item_norm"] if gram is None else [sqrt(max(gram[i * size + i], 0.0)) for i in range(size)]
        norms = [norm if k else NAN for norm, k in zip(norms, known, strict=True)]
        pulls = [factor * norm for factor, norm in zip(self._factors(mine["weight"], here), norms, strict=True)]
        found |= {self.tag("grad_norm", unit): x for unit, x in zip(units, norms, strict=True)}
        found |= {self.tag("grad_share", unit): x for unit, x in zip(units, shares(pulls), strict=True)}
        if gram is not None and size > 1:
            table = {
                (i, j): gram[i * size + j] / (norms[i] * norms[j]) if norms[i] * norms[j] > 0 else NAN
                for i, j in combinations(range(size), 2)
            }
            found |= {self.tag("grad_cosine", units[i], units[j]): x for (i, j), x in table.items()}
            found[self.tag("grad_cosine_min")] = min((x for x in table.values() if x == x), default=NAN)
        return found

    def _factors(self, weights: Sequence[float], here: Sequence[bool]) -> list[float]:
        """What multiplies the gradient of each unit; a group's loss has its base weight in it already."""
        factors = []
        for members, grouped in zip(self.terms.members, self.terms.grouped, strict=True):
            i = next((i for i in members if here[i] and self.terms.base[i]), members[0])
            factors.append(weights[i] / (self.terms.base[i] or 1.0) if grouped else weights[i])
        return factors


def shares(parts: Sequence[float]) -> list[float]:
    """The share of each of ``parts`` in the sum of their magnitudes; NaN stays, and counts for nothing.

    >>> shares([3.0, -1.0])
    [0.75, 0.25]
    """
    whole = sum(abs(x) for x in parts if x == x)
    return [abs(x) / whole if whole > 0 else NAN for x in parts]

"""The losses, the groups that are balanced as one, and their base weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from autoloss.core.base_weights import BaseWeights, GivenBase, check_base
from autoloss.core.errors import ConfigError, require, unknown
from autoloss.core.table import Reduced


class Terms:
    """N losses by name, and the K units that a weighting sees: groups, and losses on their own.

    ``base`` holds factors that multiply the weighting's weights: numbers, or schedules over progress
    (``"linear(0,1)"``), whose present values :meth:`follow` sets. ``groups`` maps a unit's name to the losses whose
    base-weighted sum is balanced as one. ``names`` may be a mapping of names to base weights.
    """

    def __init__(
        self,
        names: Sequence[str] | Mapping[str, float | str],
        base: Mapping[str, float | str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        good = not isinstance(names, (set, frozenset))
        require(good, "Losses must have an order", f"they are a set, {names!r}", "Pass a list of names.")
        good = all(isinstance(name, str) for name in names)
        require(good, "Losses must be given by name", f"they are {names!r}", 'Write ["depth", "normals"].')
        if isinstance(names, Mapping):
            both = [name for name in names if name in (base or {})]
            require(not both, "A loss must have one base weight", f"{', '.join(both)} has two", "Leave out `base`.")
            base = {**names, **(base or {})}
        self.names = tuple(names)
        for name, of in (groups or {}).items():
            good = isinstance(of, Sequence) and not isinstance(of, str) and all(isinstance(one, str) for one in of)
            require(good, "A group must be a list of losses", f"groups.{name} is {of!r}")
        base, groups = dict(base or {}), {name: tuple(of) for name, of in (groups or {}).items()}
        require(len(self.names) > 0, "There must be at least one loss", "there is none")
        require(len(set(self.names)) == len(self.names), "Losses must have distinct names", f"they are {self.names}")
        _check(self.names, base, groups)
        group_of = {name: group for group, of in groups.items() for name in of}
        unit_named = [group_of.get(name, name) for name in self.names]
        self.units = tuple(dict.fromkeys(unit_named))
        self.members = tuple(tuple(i for i, named in enumerate(unit_named) if named == unit) for unit in self.units)
        self.unit_of = tuple(self.units.index(named) for named in unit_named)
        self.grouped = tuple(unit in groups for unit in self.units)
        self._base: BaseWeights = BaseWeights(base, [(name, group_of.get(name)) for name in self.names])
        self.plain = not groups and not self._base.schedules and all(b == 1.0 for b in self._base.now)

    @property
    def base(self) -> tuple[float, ...]:
        """The present base weights of the N losses, those of their groups included."""
        return self._base.now

    @property
    def base_schedules(self) -> Mapping[str, str]:
        """The schedules of the base weights that follow progress, by loss or group."""
        return self._base.schedules

    def follow(self, progress: float) -> None:
        """Set the base weights that have a schedule to their values at ``progress``."""
        self._base.follow(progress)

    @property
    def learned(self) -> bool:
        """Whether a training learns factors of base weights."""
        return bool(self._base.learned)

    def multiply(self, learned: Mapping[int, Tensor]) -> None:
        """Multiply base weights by ``learned`` factors, tensors without dimensions by a loss's place."""
        self._base.learned, self.plain = learned, False

    @property
    def whole(self) -> tuple[Any, ...]:
        """The present base weights with their learned factors: numbers, and tensors where a factor is learned."""
        return self._base.whole

    def with_base(self, base: Sequence[Tensor]) -> Terms:
        """The same losses with the base weights ``base``, N tensors without dimensions: those of one fleet's member."""
        found = copy(self)
        found._base, found.plain = GivenBase(base), False
        return found

    def base_at(self, progress: float) -> tuple[float, ...]:
        """The base weights of the N losses at ``progress`` in [0, 1]."""
        return self._base.at(progress)

    def factors(self, device: torch.device) -> Tensor:
        """The present base weights [N], learned factors included, on ``device``; shared: never write to it."""
        return self.on_device(self.whole, device)

    def on_device(self, values: tuple[Any, ...], device: torch.device) -> Tensor:
        """Numbers that were made from the present base weights, as a tensor; never write to it."""
        return self._base.tensor(values, device)

    def about(self) -> dict[str, Any]:
        """The losses, their units and base weights (at the end of training) as plain values, for the record."""
        groups = {
            unit: [self.names[i] for i in members]
            for unit, members, grouped in zip(self.units, self.members, self.grouped, strict=True)
            if grouped
        }
        base = dict(zip(self.names, self.base_at(1.0), strict=True))
        about = {"losses": list(self.names), "units": list(self.units), "groups": groups, "base": base}
        # A schedule's own text too: the weights of a step are divided by the base weight of that step.
        return {**about, "base_schedules": self._base.given} if self.base_schedules else about

    def scalars(self, reduced: Reduced) -> tuple[Tensor | None, ...]:
        """The K units' losses, each with its graph; ``None`` where absent."""
        return reduced.scalars if self.plain else tuple(self._sum(u, reduced.scalars) for u in range(len(self.units)))

    def gather(self, reduced: Reduced) -> tuple[Tensor, Tensor, Tensor]:
        """The K units' values, counts and presence."""
        if self.plain:
            return reduced.values, reduced.counts, reduced.present
        values, counts, present = [], [], []
        for unit, members in enumerate(self.members):
            parts = [self._share(unit, i) * reduced.values[i] for i in members]
            values.append(sum(parts[1:], start=parts[0]))
            # An index by a list would copy it to the device and wait for the copy.
            counts.append(torch.stack([reduced.counts[i] for i in members]).amax())
            present.append(torch.stack([reduced.present[i] for i in members]).any())
        return torch.stack(values), torch.stack(counts), torch.stack(present)

    def collect(self, slopes: Tensor) -> Tensor:
        """Derivatives with respect to the units' weights [K], from those for the losses' effective weights [N]."""
        if self.plain:
            return slopes
        parts = slopes * self.factors(slopes.device)
        return torch.stack([torch.stack([parts[i] for i in members]).sum() for members in self.members])

    def spread(self, weights: Tensor) -> Tensor:
        """The units' weights [K] as the losses' effective weights [N], base weights included."""
        if self.plain:
            return weights
        return torch.stack([weights[unit] for unit in self.unit_of]) * self.factors(weights.device)

    def _share(self, unit: int, loss: int) -> Any:
        return self.whole[loss] if self.grouped[unit] else 1.0

    def _sum(self, unit: int, scalars: Sequence[Tensor | None]) -> Tensor | None:
        parts = [self._share(unit, i) * s for i in self.members[unit] if (s := scalars[i]) is not None]
        return sum(parts[1:], start=parts[0]) if parts else None


def _check(names: Sequence[str], base: Mapping[str, float | str], groups: Mapping[str, Sequence[str]]) -> None:
    for name, weight in base.items():
        if name not in names and name not in groups:
            raise unknown("loss", name, names)
        check_base(name, weight)
    seen: dict[str, str] = {}
    for group, members in groups.items():
        require(len(members) > 0, "A group must have losses", f"groups.{group} is empty")
        if group in names and group not in members:
            raise ConfigError(
                f"A group must not have the name of another loss, but {group!r} is one. Rename the group."
            )
        for name in members:
            if name not in names:
                raise unknown("loss", name, names)
            require(name not in seen, "A loss must be in one group", f"{name!r} is in {seen.get(name)!r} and {group!r}")
            seen[name] = group


def check_weight(key: str, weight: object) -> None:
    """Raise unless ``weight`` is a number that can multiply a loss."""
    good = isinstance(weight, (int, float)) and math.isfinite(weight) and weight >= 0
    require(good, "A weight must be finite and not negative", f"{key}={weight}")

"""Penalties on a network's parameters, as losses that keep their base weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, require
from autoloss.core.penalty import Penalty
from autoloss.core.schedules.progressive import build
from autoloss.core.schedules.schedule import Schedule, parse_schedule, varies
from autoloss.core.table import Entry
from autoloss.training.step.clock_check import unknown_length


class Penalties(nn.Module):
    """Penalties by name, each on some of a network's parameters.

    Each is given as its factor, ``{"orthogonality": 0.01}``, or as ``{"factor": ..., "name": ...,
    "on": ..., parameters of the penalty}``; ``None`` is no penalty. ``factor`` (default 1) may be a schedule,
    ``name`` (default: the key) is the registered penalty, ``on`` (default: the whole network) names parameters, or
    modules whose parameters are meant. Tensors of one dimension (biases, scales) are left out unless ``on`` names
    them. ``losses`` are the names that a penalty must not have.
    """

    def __init__(self, given: Mapping[str, Any], losses: Iterable[str] = ()) -> None:
        super().__init__()
        given = {name: node for name, node in given.items() if node is not None}
        self.names = tuple(given)
        self.factors: dict[str, Schedule] = {}
        self.on: dict[str, tuple[str, ...]] = {}
        made: list[Penalty] = []
        for name, node in given.items():
            require(name not in losses, "A penalty must have a name of its own", f"there is a loss {name!r}")
            parameters = dict(node) if isinstance(node, Mapping) else {"factor": node}
            self.factors[name] = _factor(name, parameters.pop("factor", 1.0))
            on = parameters.pop("on", None) or ()
            good = isinstance(on, Sequence) and all(isinstance(one, str) for one in on)
            require(good, f"penalties.{name}.on must name parameters or modules", f"it is {on!r}", "Write on=[trunk].")
            self.on[name] = (on,) if isinstance(on, str) else tuple(on)
            made.append(build("penalty", {"name": name, **parameters}))
        self.parts = nn.ModuleList(made)
        self.now: dict[str, float] = {name: factor(0.0) for name, factor in self.factors.items()}
        self.found: dict[str, list[str]] = {}

    @property
    def scheduled(self) -> bool:
        """Whether a factor or a penalty changes during training."""
        return any(map(varies, self.factors.values())) or any(part.schedules for part in self.parts)

    def bind(self, network: nn.Module) -> Penalties:
        """Find the parameters of ``network`` that each penalty is on; an error where there are none."""
        for name in self.names:
            self.found[name] = _chosen(network, name, self.on[name])
        return self

    def check(self, clock: Clock) -> None:
        """Raise if a penalty has a schedule and the length of training is not known."""
        for name, part in zip(self.names, self.parts, strict=True) if "progress" in clock.unknown else ():
            if varies(self.factors[name]) or part.schedules:
                raise unknown_length(f"Penalty {name!r}")

    def follow(self, progress: float) -> None:
        """Set what has a schedule to its value at ``progress``."""
        for name, part in zip(self.names, self.parts, strict=True):
            part.follow(progress)  # type: ignore[operator]
            self.now[name] = self.factors[name](progress)

    def entries(self, network: nn.Module) -> dict[str, Entry]:
        """``factor * penalty`` of ``network``'s present parameters, for each penalty, not balanced with the losses."""
        return _entries(self.names, self.parts, self.now, self.found, network)


class Penalised(nn.Module):
    """What penalties are at the moment: numbers, without the schedules that these follow."""

    def __init__(self, penalties: Penalties) -> None:
        super().__init__()
        self.names, self.parts = penalties.names, penalties.parts
        self.now, self.found = penalties.now, penalties.found  # the same dicts, which the penalties write

    def entries(self, network: nn.Module) -> dict[str, Entry]:
        """As :meth:`Penalties.entries`."""
        return _entries(self.names, self.parts, self.now, self.found, network)


def _entries(
    names: Sequence[str],
    parts: nn.ModuleList,
    now: Mapping[str, float],
    on: Mapping[str, Sequence[str]],
    network: nn.Module,
) -> dict[str, Entry]:
    found = {}
    for name, part in zip(names, parts, strict=True):
        # Looked up by name each time: a look-ahead replaces the parameters by other tensors.
        parameters: list[Tensor] = [attrgetter(one)(network) for one in on[name]]
        found[name] = Entry(now[name] * part(parameters), balanced=False)
    return found


def _factor(name: str, written: Any) -> Schedule:
    key = f"penalties.{name}.factor"
    good = isinstance(written, (int, float, str)) and not isinstance(written, bool)
    require(good, f"{key} must be a number or a schedule", f"it is {written!r}")
    factor = parse_schedule(written)
    lowest = min(factor(i / 100) for i in range(101))
    require(lowest >= 0, f"{key} must be at least 0", f"it is {written}")
    return factor


def _chosen(network: nn.Module, penalty: str, on: tuple[str, ...]) -> list[str]:
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for one in on:
        if not any(name == one or name.startswith(f"{one}.") for name in trained):
            raise ConfigError(
                f"penalties.{penalty}.on must name parameters or modules of the network, but there is no {one!r}. The "
                f"parameters are: {', '.join(trained)}."
            )
    inside = tuple(f"{one}." for one in on)
    chosen = [n for n, p in trained.items() if n in on or (p.dim() > 1 and (not on or n.startswith(inside)))]
    require(len(chosen) > 0, f"penalties.{penalty} must have weight matrices to act on", "the network has none there")
    return chosen

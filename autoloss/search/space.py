"""What a search may choose, and how it asks a sampler for a candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.trial import Trial

from autoloss.core.errors import require
from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import wrappers_of
from autoloss.core.space import Choice, Distribution, Interval, Range, contains
from autoloss.core.surgery import Surgery
from autoloss.search.conditional import Branches, optuna_distribution

BASELINE, STATIC = "equal", "fixed"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One configuration: the weighting with its parameters, a loss for each searched term, other keys.

    A loss is its name, or a mapping with its ``name`` and its numbers.
    """

    weighting: Mapping[str, Any]
    losses: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The candidate in one line, for tables."""
        parts = [str(self.weighting["name"])]
        for key, value in self.weighting.items():
            if key == "weights":
                parts.append("(" + ", ".join(f"{name} {weight:.3g}" for name, weight in value.items()) + ")")
            elif key == "wrap":
                parts += [name for name, _ in wrappers_of(value)]
            elif key != "name":
                parts.append(f"{key}={_short(value)}")
        for term, loss in self.losses.items():
            name, numbers = name_and_numbers(loss)
            parts += [f"{term}={name}", *(f"{term}.{key}={_short(value)}" for key, value in numbers.items())]
        parts += [f"{key}={_short(value)}" for key, value in self.keys.items()]
        return " ".join(parts)

    def plain(self) -> dict[str, Any]:
        """The choice as plain values, for a file."""
        return {"weighting": dict(self.weighting), "losses": dict(self.losses), "keys": dict(self.keys)}


@dataclass(frozen=True, slots=True)
class Space:
    """A conditional space: the weighting first, then what that weighting has to choose.

    ``weightings`` maps each weighting to its own search space. The static one, ``fixed``, has K - 1 numbers instead:
    for each loss but the first, the logarithm (base 10) of its weight divided by the first loss's weight, in
    [-decades, decades]. Its weights sum to K. ``losses`` maps terms to the losses to choose from, ``numbers`` those
    losses' names to the numbers that are chosen with them, and ``keys`` any other key of the configuration to its
    distribution. ``defaults`` are the values of those keys in the baseline, where the configuration has none. ``wrap``
    maps weightings to their wrappers.
    """

    terms: tuple[str, ...]
    weightings: Mapping[str, Mapping[str, Distribution]]
    losses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keys: Mapping[str, Distribution] = field(default_factory=dict)
    decades: float = 2.0
    defaults: Mapping[str, Any] = field(default_factory=dict)
    wrap: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    numbers: Mapping[str, Mapping[str, Distribution]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.weightings), "A search must have weightings to choose from", "search.weightings is empty")
        require(self.decades > 0, "search.decades must be above 0", f"it is {self.decades}")
        only = len(self.weightings) == 1 and BASELINE in self.weightings
        empty = only and not self.losses and not self.keys
        require(not empty, "A search must have something to choose", "the only weighting is 'equal' and no key varies")

    @property
    def options(self) -> list[str]:
        """The weightings that a sampler chooses from; equal weights are among them only where other keys vary."""
        varies = bool(self.losses or self.keys)
        return [name for name in self.weightings if varies or name != BASELINE]

    @property
    def branches(self) -> Branches:
        """The same space as Optuna's samplers need it."""
        roots = {
            "weighting": {name: {f"{name}.{key}": d for key, d in self._own(name).items()} for name in self.options}
        }
        roots |= {f"losses.{term}": {name: self._of(term, name) for name in of} for term, of in self.losses.items()}
        given = {
            root: {name: {key: optuna_distribution(d) for key, d in own.items()} for name, own in values.items()}
            for root, values in roots.items()
        }
        # A choice without numbers of its own is not a kind of trial, of which a sampler would make a model.
        plain = {root: Choice(tuple(of)) for root, of in roots.items() if root != "weighting" and not any(of.values())}
        shared = {key: optuna_distribution(d) for key, d in {**plain, **self.keys}.items()}
        return Branches(shared, {root: values for root, values in given.items() if root not in plain})

    @property
    def turns(self) -> list[str]:
        """The weightings in the order in which each is first tried, after equal weights."""
        return [name for name in self.options if name != BASELINE]

    def first(self, name: str) -> dict[str, Any]:
        """The parameters of the first trial of weighting ``name``: its own defaults, where the search may choose them.

        Fixed weights have none: theirs would be equal weights, which have run.
        """
        if name == STATIC:
            return {}
        known = defaults(registry.find("weighting", name))
        return {
            f"{name}.{key}": known[key]
            for key, of in self._own(name).items()
            if key in known and contains(of, known[key])
        }

    def left_out(self, trials: int) -> list[str]:
        """A sentence if ``trials`` are too few for each weighting to run once after equal weights."""
        late = ", ".join(self.turns[max(0, trials - 1) :])
        some = f"Equal weights run first, then each weighting in turn: search.n_trials={trials} is too few for"
        return [f"{some} {late}. Set search.n_trials={len(self.turns) + 1} or more."] if late else []

    def without(self, units: Sequence[str]) -> Space:
        """The same space with no weights for ``units``, which keep their base weight."""
        return replace(self, terms=tuple(term for term in self.terms if term not in units))

    def suggest(self, trial: Trial) -> Candidate:
        """Ask the sampler of ``trial`` for a candidate; for the baseline the sampler is not asked."""
        if trial.user_attrs.get("baseline"):
            return Candidate({"name": BASELINE}, {}, dict(self.defaults))
        name = str(trial.suggest_categorical("weighting", self.options))
        own = {key: suggest(trial, f"{name}.{key}", d) for key, d in self._own(name).items()}
        losses = {term: self._loss(trial, term) for term in self.losses}
        return self.candidate(name, own, losses, {key: suggest(trial, key, d) for key, d in self.keys.items()})

    def _loss(self, trial: Trial, term: str) -> str | Mapping[str, Any]:
        name = suggest(trial, f"losses.{term}", Choice(tuple(self.losses[term])))
        numbers = {key.rpartition(".")[2]: suggest(trial, key, d) for key, d in self._of(term, name).items()}
        return {"name": name, **numbers} if numbers else name

    def loss_parameters(self, losses: Mapping[str, str | Mapping[str, Any]]) -> dict[str, Any]:
        """The sampler's parameters for the ``losses`` of a candidate; the inverse of what it suggests."""
        found: dict[str, Any] = {}
        for term, loss in losses.items():
            name, numbers = name_and_numbers(loss)
            found |= {f"losses.{term}": name, **{f"losses.{term}.{name}.{key}": v for key, v in numbers.items()}}
        return found

    def candidate(
        self,
        name: str,
        own: Mapping[str, Any],
        losses: Mapping[str, str | Mapping[str, Any]],
        keys: Mapping[str, Any],
    ) -> Candidate:
        """The candidate with the weighting ``name`` and the sampler's numbers ``own`` for it."""
        if name == STATIC:
            powers = [1.0, *(10.0 ** own[f"decades_{term}"] for term in self.terms[1:])]
            scale = len(powers) / sum(powers)
            weights = {term: power * scale for term, power in zip(self.terms, powers, strict=True)}
            return Candidate({"name": STATIC, "weights": weights}, losses, keys)
        wrap = {"wrap": list(self.wrap[name])} if self.wrap.get(name) else {}
        return Candidate({"name": name, **own, **wrap}, losses, keys)

    def static_parameters(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The sampler's numbers for fixed ``weights``, clamped to the range; the inverse of :meth:`candidate`."""
        first = max(weights[self.terms[0]], 1e-12)
        powers = {term: math.log10(max(weights[term], 1e-12) / first) for term in self.terms[1:]}
        return {f"{STATIC}.decades_{term}": max(-self.decades, min(self.decades, p)) for term, p in powers.items()}

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Every combination, with ``points`` values of each continuous parameter, as a sampler's parameters."""
        keys = {key: values_of(d, points) for key, d in self.keys.items()}
        each = []
        for name, *losses in itertools.product(self.options, *self.losses.values()):
            chosen = dict(zip(self.losses, losses, strict=True))
            given = {"weighting": name} | {f"losses.{term}": loss for term, loss in chosen.items()}
            own = {f"{name}.{key}": d for key, d in self._own(name).items()}
            for term, loss in chosen.items():
                own |= self._of(term, loss)
            each.append(_combinations(given, {key: values_of(d, points) for key, d in own.items()} | keys))
        # In turn, so that a budget that is smaller than the grid reaches every weighting.
        for ones in itertools.zip_longest(*each):
            yield from (one for one in ones if one is not None)

    def _of(self, term: str, loss: str) -> dict[str, Distribution]:
        """The sampler's parameters that a ``loss`` of ``term`` has."""
        return {f"losses.{term}.{loss}.{key}": d for key, d in self.numbers.get(loss, {}).items()}

    def _own(self, name: str) -> Mapping[str, Distribution]:
        if name == STATIC:
            return {f"decades_{term}": Interval(-self.decades, self.decades) for term in self.terms[1:]}
        return self.weightings[name]


def _combinations(given: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """``given`` with each combination of the values of the ``axes``."""
    for values in itertools.product(*axes.values()):
        yield {**given, **dict(zip(axes, values, strict=True))}


def name_and_numbers(loss: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of a candidate's loss, and the numbers that were chosen with it."""
    return (loss, {}) if isinstance(loss, str) else (loss["name"], {k: v for k, v in loss.items() if k != "name"})


def normalising(weightings: Iterable[str]) -> dict[str, list[str]]:
    """The wrapper that makes weights sum to K, for those ``weightings`` whose weights do not do so by themselves.

    Without it, a method whose weights grow would be compared at another learning rate than equal weights. A surgery
    has no weights to scale, and some methods have a scale of their own.
    """
    classes = {name: registry.load("weighting", name) for name in weightings}
    scaled = [name for name, of in classes.items() if "sums_to_count" in of.claims or of.own_scale]
    free = [name for name, of in classes.items() if name not in scaled and not issubclass(of, Surgery)]
    return {name: ["normalise"] for name in free if name not in (BASELINE, STATIC)}


def middle(distribution: Distribution) -> Any:
    """The value in the middle of ``distribution``; the first option of a choice."""
    return values_of(distribution, 3)[1] if isinstance(distribution, Interval) else values_of(distribution, 1)[0]


def suggest(trial: Trial, name: str, distribution: Distribution) -> Any:
    """Ask the sampler of ``trial`` for the parameter ``name``."""
    if isinstance(distribution, Interval):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, Range):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    return trial.suggest_categorical(name, distribution.options)


def values_of(distribution: Distribution, points: int) -> list[Any]:
    """``points`` values over the range of ``distribution``; fewer where it has fewer."""
    if isinstance(distribution, Choice):
        return list(distribution.options)
    low, high = distribution.low, distribution.high
    steps = [i / max(points - 1, 1) for i in range(points)]
    if distribution.log:
        values = [low * (high / low) ** t for t in steps]
    else:
        values = [low + (high - low) * t for t in steps]
    return list(dict.fromkeys(round(v) for v in values)) if isinstance(distribution, Range) else values


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""The keys that a sweep varies, and the overrides of its jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.trial import Trial

from autoloss.app.overrides import rewritten
from autoloss.app.search_space import distribution
from autoloss.core.errors import require
from autoloss.core.space import Choice, Distribution
from autoloss.search.conditional import Branches, optuna_distribution
from autoloss.search.space import BASELINE, suggest, values_of


@dataclass(frozen=True, slots=True)
class Plan:
    """The overrides that every job has, and the distribution of each key that is swept."""

    constant: tuple[str, ...]
    axes: Mapping[str, Distribution]

    @staticmethod
    def read(arguments: Sequence[str], loader: ConfigLoader) -> Plan:
        """The plan that the command line's ``arguments``, in Hydra's syntax, describe."""
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
        constant = tuple(str(o.input_line) for o in parsed if not o.is_sweep_override())
        axes = {o.get_key_element(): _axis(o) for o in parsed if o.is_sweep_override()}
        advice = "Write for example 'weighting=choice(equal,gradnorm)' 'optimizer.lr=interval(1e-4,1e-2)'."
        require(bool(axes), "A sweep must vary a key", "nothing is swept", advice)
        require("problem" not in axes, "All runs of a sweep must train the same problem", "problem is swept")
        return Plan(constant, axes)

    @property
    def equal(self) -> dict[str, Any] | None:
        """The swept values of the baseline (equal weights); ``None`` if no job of the sweep has equal weights."""
        if "weighting" not in self.axes:
            return {}
        return {"weighting": BASELINE} if BASELINE in values_of(self.axes["weighting"], 2) else None

    @property
    def branches(self) -> Branches:
        """The axes as Optuna's samplers need them."""
        return Branches({key: optuna_distribution(of) for key, of in self.axes.items()})

    def turns(self) -> list[dict[str, Any]]:
        """The weightings that are swept, each once, without those of the baseline."""
        names = values_of(self.axes["weighting"], 2) if "weighting" in self.axes else []
        return [{"weighting": name} for name in names if {"weighting": name} != self.equal]

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A value for each swept key, from the sampler behind ``trial``."""
        return {key: suggest(trial, key, of) for key, of in self.axes.items()}

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Every combination, with ``points`` values on each continuous axis."""
        values = [values_of(of, points) for of in self.axes.values()]
        return (dict(zip(self.axes, one, strict=True)) for one in itertools.product(*values))

    def options(self) -> Iterator[dict[str, Any]]:
        """Combinations in which each value of each key occurs once, with the first values of the other keys."""
        first = {key: values_of(of, 2)[0] for key, of in self.axes.items()}
        yield first
        for key, of in self.axes.items():
            yield from ({**first, key: value} for value in values_of(of, 2)[1:])


def overrides(values: Mapping[str, Any]) -> list[str]:
    """``values`` as overrides of one job."""
    return rewritten([f"{key}={value}" for key, value in values.items()])


def _axis(override: Override) -> Distribution:
    value, text = override.value(), str(override.input_line).partition("=")[2]
    if isinstance(value, (IntervalSweep, RangeSweep)):
        return distribution(override.get_key_element(), text)
    # Hydra's own texts of the values: strings keep their quotes; lists and mappings stay as written.
    return Choice(tuple(override.sweep_string_iterator()))

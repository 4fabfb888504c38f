"""Gives each of Optuna's samplers the space that it draws from.

Gp, cmaes, qmc and nsga2 take the parameters that all earlier trials have. A search has none of these: its first trial,
equal weights, chooses nothing, and each weighting has parameters of its own. So the space is given, not inferred.
"""

from __future__ import annotations

import copy
import itertools
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoloss.core.space import Distribution, Interval, Range

Parameters = Mapping[str, BaseDistribution]


@dataclass(frozen=True, slots=True)
class Branches:
    """The parameters of a space: those ``shared`` by all trials, and those that belong to one value of a root.

    ``roots`` says by the name of a root (the weighting, the loss of a term) and by its value which parameters those
    are.
    """

    shared: Parameters
    roots: Mapping[str, Mapping[str, Parameters]] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, BaseDistribution]:
        """Every parameter that can have more than one value."""
        own = [one for values in self.roots.values() for one in values.values()]
        return _varying({**self.choices, **{key: d for one in own for key, d in one.items()}, **self.shared})

    @property
    def choices(self) -> dict[str, BaseDistribution]:
        """The roots themselves."""
        return {root: CategoricalDistribution(list(values)) for root, values in self.roots.items()}

    @property
    def kinds(self) -> int:
        """How many kinds of trials there are: the combinations of the roots' values."""
        return math.prod(map(len, self.roots.values()))

    def of(self, kind: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """The parameters beside the roots of a trial whose roots have the values ``kind``."""
        own = [values.get(kind[root], {}) for root, values in self.roots.items()]
        return _varying({**{key: d for one in own for key, d in one.items()}, **self.shared})


def optuna_distribution(distribution: Distribution) -> BaseDistribution:
    """``distribution`` as Optuna has it."""
    if isinstance(distribution, Interval):
        return FloatDistribution(distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, Range):
        return IntDistribution(distribution.low, distribution.high, log=distribution.log)
    return CategoricalDistribution(distribution.options)


class Conditional(BaseSampler):
    """The sampler ``inner`` with its own way to learn the space: it can draw from a conditional one."""

    def __init__(self, inner: BaseSampler, branches: Branches) -> None:
        self.inner, self.branches = inner, branches

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space; :meth:`sample_relative` draws some of it."""
        return {} if trial.user_attrs.get("baseline") else self.branches.all

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        """Values for those parameters of ``search_space`` that the sampler draws together."""
        return self.draw(study, trial) if search_space else {}

    def draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """Values for ``trial``, which is not the baseline."""
        return self.inner.sample_relative(study, trial, self.inner.infer_relative_search_space(study, trial))

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """A value for a parameter that :meth:`sample_relative` has not drawn."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Draw from another seed, in a process or thread of its own."""
        self.inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Is called before ``trial`` is sampled."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Is called when ``trial`` is finished."""
        self.inner.after_trial(study, trial, state, values)


class OneSequence(QMCSampler):
    """Optuna's sampler of a sequence, with the trial's number as the position: no two workers draw the same point."""

    position = 0

    def _find_sample_id(self, study: Study, search_space: Parameters) -> int:
        return self.position


class FromBest(CmaEsSampler):
    """Optuna's CMA-ES, which begins at the best of its ``start`` first trials instead of the middle of the space.

    A search has few trials: so the first distribution is narrow, and a generation small. Optuna keeps the state in the
    study as a pickle, and whoever wrote the study decides what unpickling it runs. Here nothing is kept: the state is
    computed again from the trials.
    """

    def __init__(self, start: int, **options: Any) -> None:
        super().__init__(**{"popsize": 4, **options}, n_startup_trials=start)
        self._free = "x0" not in options
        if self._sigma0 is None:
            self._sigma0 = 0.1  # of the range of each number
        self._space: tuple[dict[str, Any], StudyDirection] = ({}, StudyDirection.MINIMIZE)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """Values for all of ``search_space``, or none while the first trials are drawn at random."""
        self._space = (search_space, study.direction)
        first = _by_end(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))[: self._n_startup_trials]
        if self._free and first and search_space:
            best = min(first, key=lambda one: self._sign * float(one.value or 0.0))
            self._x0 = {name: best.params[name] for name in search_space}
        return super().sample_relative(study, trial, search_space)

    @property
    def _sign(self) -> float:
        return 1.0 if self._space[1] == StudyDirection.MINIMIZE else -1.0

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        return {}  # is stored with the trial

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        trans = _SearchSpaceTransform(self._space[0], transform_step=not self._with_margin, transform_0_1=True)
        optimizer = self._init_optimizer(trans, self._space[1])
        ended = _by_end(completed_trials)
        while True:
            told = self._get_solution_trials(ended, optimizer.generation)[: optimizer.population_size]
            if len(told) < optimizer.population_size:
                return optimizer
            optimizer.tell([(self._point(trans, one), self._sign * float(one.value or 0.0)) for one in told])

    def _point(self, trans: _SearchSpaceTransform, trial: FrozenTrial) -> Any:
        at = trial.system_attrs["x_for_tell"] if self._with_margin else None
        return trans.transform(trial.params) if at is None else np.array(at)


class InSequence(Conditional):
    """Draws the point of ``trial`` from one sequence over the whole space; of other weightings nothing is used."""

    inner: OneSequence

    def draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        self.inner.position = trial.number
        return self.inner.sample_relative(study, trial, self.branches.all)


class Genetic(Conditional):
    """Crosses trials of unlike weightings: what a parent's weighting has not is drawn at random, once."""

    def draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        every = self.branches.all

        def whole(one: FrozenTrial) -> FrozenTrial | None:
            if one.state != TrialState.COMPLETE or not one.params:
                return None
            missing = [name for name in every if name not in one.params]
            if not missing:
                return one
            random, filled = RandomSampler(seed=one.number), copy.copy(one)
            drawn = {name: random.sample_independent(study, one, name, every[name]) for name in missing}
            filled.distributions = {**one.distributions, **{name: every[name] for name in missing}}
            filled.params = {**one.params, **drawn}
            return filled

        return self.inner.sample_relative(_part(study, whole), trial, every)


class Split(Conditional):
    """A sampler for each kind of trial (the values of its roots), which sees the trials of that kind.

    TPE chooses the roots' values. ``drawn`` are the distributions that the sampler can draw from; TPE draws the others.
    """

    def __init__(
        self, make: Callable[[int], BaseSampler], branches: Branches, seed: int, drawn: tuple[type, ...]
    ) -> None:
        super().__init__(make(seed), branches)
        self.drawn = drawn
        self.root = TPESampler(seed=seed)
        kinds = map(_title, itertools.product(*branches.roots.values())) if branches.roots else ()
        self.each = {kind: make((seed + zlib.crc32(kind.encode())) % 2**32) for kind in kinds}

    def draw(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        kind = {root: self._root(study, trial, root, of) for root, of in self.branches.choices.items()}
        space = {name: d for name, d in self.branches.of(kind).items() if isinstance(d, self.drawn)}
        sampler = self.each.get(_title(kind.values()), self.inner)
        found = sampler.sample_relative(self._with(study, kind, space), trial, space)
        return {**{root: kind[root] for root, of in self.branches.choices.items() if not of.single()}, **found}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        sampler = self.inner if isinstance(param_distribution, self.drawn) else self.root
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        for sampler in (self.inner, self.root, *self.each.values()):
            sampler.reseed_rng()

    def _root(self, study: Study, trial: FrozenTrial, name: str, of: BaseDistribution) -> Any:
        fixed = trial.system_attrs.get("fixed_params", {})
        if name in fixed:
            return fixed[name]
        return of.choices[0] if of.single() else self.root.sample_independent(study, trial, name, of)  # type: ignore[attr-defined]

    def _with(self, study: Study, kind: Mapping[str, Any], space: Parameters) -> Any:
        """The study, with only those trials that are of this ``kind``."""

        def keep(one: FrozenTrial) -> FrozenTrial | None:
            fits = all(one.params.get(root) == value for root, value in kind.items())
            return one if fits and (one.state == TrialState.RUNNING or space.keys() <= one.params.keys()) else None

        return _part(study, keep)


class _Part:
    """A study of which a sampler sees some trials."""

    def __init__(self, study: Study, seen: Callable[[FrozenTrial], FrozenTrial | None]) -> None:
        self._whole, self._seen = study, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _get_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        found = map(self._seen, self._whole._get_trials(*arguments, **options))
        return [one for one in found if one is not None]

    def get_trials(self, *arguments: Any, **options: Any) -> list[FrozenTrial]:
        found = map(self._seen, self._whole.get_trials(*arguments, **options))
        return [one for one in found if one is not None]

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()


def _title(kind: Iterable[Any]) -> str:
    return "/".join(map(str, kind))


def _part(study: Study, seen: Callable[[FrozenTrial], FrozenTrial | None]) -> Any:
    return _Part(study, seen)


def with_parameters(study: Study) -> Any:
    """The study without trials that chose nothing: a sampler learns nothing from equal weights that run first."""
    return _part(study, lambda trial: trial if trial.params else None)


def _by_end(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """``trials`` in the order in which they ended: a trial that ends later changes nothing before it."""
    return sorted(trials, key=lambda one: (one.datetime_complete or datetime.min, one.number))


def _varying(parameters: Parameters) -> dict[str, BaseDistribution]:
    return {name: d for name, d in parameters.items() if not d.single()}

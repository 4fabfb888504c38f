"""Optuna's samplers and pruners by name; each sampler draws from the space that it is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from optuna import pruners, samplers
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import nsgaii

from autoloss.core.errors import ConfigError, require, unknown
from autoloss.search.conditional import Branches, Conditional, FromBest, Genetic, InSequence, OneSequence, Split

SAMPLERS: dict[str, Callable[..., samplers.BaseSampler]] = {
    # The space is conditional: `group` models the parameters that occur together.
    "tpe": lambda seed, **more: samplers.TPESampler(seed=seed, multivariate=True, group=True, **more),
    "gp": lambda seed, **more: samplers.GPSampler(seed=seed, warn_independent_sampling=False, **more),
    "cmaes": lambda seed, n_startup_trials=6, **more: FromBest(
        n_startup_trials, seed=seed, warn_independent_sampling=False, **more
    ),
    "random": lambda seed, **more: samplers.RandomSampler(seed=seed, **more),
    # The grid's trials are queued; a trial beyond them is random.
    "grid": lambda seed, **more: samplers.RandomSampler(seed=seed, **more),
    "qmc": lambda seed, **more: OneSequence(seed=seed, scramble=True, warn_independent_sampling=False, **more),
    # With the operators of its paper; Optuna's default crossover makes no new number, and mutates at random.
    "nsga2": lambda seed, **more: samplers.NSGAIISampler(
        seed=seed, crossover=nsgaii.SBXCrossover(), mutation=nsgaii.PolynomialMutation(), **more
    ),
}
PRUNERS: dict[str, Callable[..., pruners.BasePruner]] = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "hyperband": pruners.HyperbandPruner,
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "wilcoxon": pruners.WilcoxonPruner,
}


# The least that an option may be; Optuna takes less and fails in the middle of a search.
_LEAST = {
    "n_startup_trials": 0,
    "n_warmup_steps": 0,
    "n_startup_steps": 0,
    "min_resource": 1,
    "max_resource": 1,
    "reduction_factor": 2,
}
_STARTUP = {"gp": 10, "cmaes": 6}  # random trials before the first model, shared out among the weightings
_NUMBERS: tuple[type, ...] = (FloatDistribution, IntDistribution)
# What a sampler with a model of its own can draw; TPE draws the rest, and the weighting in a search over several.
_MODELS: dict[str, tuple[type, ...]] = {"gp": (BaseDistribution,), "cmaes": _NUMBERS}


def build_sampler(
    node: Mapping[str, Any],
    seed: int,
    objectives: int,
    branches: Branches | None = None,
    trials: int = 40,
    at_once: int = 1,
) -> samplers.BaseSampler:
    """The sampler that ``node`` (``name`` and its parameters) describes, for the space ``branches``.

    Without ``branches`` it is only checked. ``trials`` is the budget, which the size of a population of nsga2 follows;
    that of cmaes follows ``at_once``, the number of trials that are asked for at once.
    """
    name, options = _name_and_options("sampler", node, SAMPLERS)
    if name == "nsga2":
        options.setdefault("population_size", population(trials))
    if name == "cmaes" and branches is not None:
        options.setdefault("popsize", max(4, at_once // branches.kinds))
    if name in _STARTUP and branches is not None:
        options.setdefault("n_startup_trials", _startup(name, branches))
    fits = objectives == 1 or name != "cmaes"
    require(
        fits,
        "Several objectives need a sampler that can rank them",
        "search.sampler is cmaes",
        "Choose tpe or nsga2.",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = SAMPLERS[name](seed, **options)
            if branches is not None:
                sampler = _given(name, sampler, seed, options, branches)
        if name == "cmaes":
            import cmaes  # noqa: F401 - Optuna imports it only at the first trial
    except ImportError as error:
        raise ConfigError(
            f"Sampler {name!r} needs a package that is not installed: {error}. Install it with pip."
        ) from error
    except TypeError as error:
        raise ConfigError(f"Sampler {name!r} must be given its own options, but {error}.") from error
    return sampler


def _startup(name: str, branches: Branches) -> int:
    return max(3, _STARTUP[name] // branches.kinds)


def population(trials: int) -> int:
    """The default size of a generation of nsga2: a quarter of the budget, and at most 50, as Optuna has it."""
    return max(4, min(50, trials // 4))


def sentences(node: Mapping[str, Any], branches: Branches, trials: int, key: str = "search.n_trials") -> list[str]:
    """What the sampler leaves to another one, and which of the ``trials`` are random: to be said before a search."""
    name, options = _name_and_options("sampler", node, SAMPLERS)
    said = []
    whose = "weighting" if list(branches.roots) == ["weighting"] else "kind of trial"
    if name in _MODELS:
        roots = branches.choices
        others = [root for root, of in roots.items() if not of.single()]
        others += [key for key, d in branches.all.items() if key not in roots and not isinstance(d, _MODELS[name])]
        if others:
            draws = f"a model of numbers for each {whose}" if name == "cmaes" else f"a model for each {whose}"
            draws = draws if branches.kinds > 1 else "a model of numbers"
            said.append(f"{name} has {draws}; tpe draws {', '.join(others)}.")
        first = options.get("n_startup_trials", _startup(name, branches))
        # Equal weights run first. With more trials, some weighting has a model.
        if trials - 1 <= first * branches.kinds:
            which = f"the first {first} trials of each {whose}" if branches.kinds > 1 else f"its first {first} trials"
            said.append(f"{name} draws {which} at random, and {key}={trials} ends within them.")
    size = options.get("population_size", population(trials))
    if name == "nsga2" and size >= trials:
        said.append(f"nsga2 draws its first generation at random, and {key}={trials} ends within its {size}.")
    return said


def _given(
    name: str, sampler: samplers.BaseSampler, seed: int, options: Mapping[str, Any], branches: Branches
) -> samplers.BaseSampler:
    if name in _MODELS:
        return Split(lambda own: SAMPLERS[name](own, **options), branches, seed, _MODELS[name])
    if name == "qmc":
        return InSequence(sampler, branches)
    return Genetic(sampler, branches) if name == "nsga2" else Conditional(sampler, branches)


def build_pruner(node: Mapping[str, Any], objectives: int, folds: int) -> pruners.BasePruner:
    """The pruner that ``node`` (``name`` and its parameters) describes."""
    name, options = _name_and_options("pruner", node, PRUNERS)
    single = objectives == 1 or name == "none"
    require(single, "Pruning needs one objective", f"there are {objectives}", "Set search.pruner=none.")
    fits = name != "wilcoxon" or folds > 1
    require(fits, "The Wilcoxon pruner compares folds", "search.folds is not above 1", "Set search.folds=5.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return PRUNERS[name](**options)
        except TypeError as error:
            raise ConfigError(f"Pruner {name!r} must be given its own options, but {error}.") from error


def _name_and_options(kind: str, node: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    options = dict(node)
    name = str(options.pop("name", ""))
    if name not in known:
        raise unknown(kind, name, known)
    for key, least in _LEAST.items():
        given = options.get(key, "auto")
        good = given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and given >= least)
        require(good, f"search.{kind}.{key} must be a whole number of at least {least}", f"it is {given!r}")
    share = options.get("p_threshold", 0.5)
    require(0 < share < 1, f"search.{kind}.p_threshold must lie between 0 and 1", f"it is {share!r}")
    return name, options

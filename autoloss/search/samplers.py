"""Optuna's samplers and pruners by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from optuna import pruners, samplers
from optuna.exceptions import ExperimentalWarning

from autoloss.core.errors import ConfigError, require, unknown

SAMPLERS: dict[str, Callable[..., samplers.BaseSampler]] = {
    # The space is conditional: `group` models the parameters that occur together.
    "tpe": lambda seed, **more: samplers.TPESampler(seed=seed, multivariate=True, group=True, **more),
    "gp": lambda seed, **more: samplers.GPSampler(seed=seed, **more),
    "cmaes": lambda seed, **more: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, **more),
    "random": lambda seed, **more: samplers.RandomSampler(seed=seed, **more),
    # The grid's trials are queued; a trial beyond them is random.
    "grid": lambda seed, **more: samplers.RandomSampler(seed=seed, **more),
    "qmc": lambda seed, **more: samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False, **more),
    "nsga2": lambda seed, **more: samplers.NSGAIISampler(seed=seed, **more),
}
PRUNERS: dict[str, Callable[..., pruners.BasePruner]] = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "hyperband": pruners.HyperbandPruner,
    "successive_halving": pruners.SuccessiveHalvingPruner,
    "wilcoxon": pruners.WilcoxonPruner,
}


def build_sampler(node: Mapping[str, Any], seed: int, objectives: int) -> samplers.BaseSampler:
    """The sampler that ``node`` (``name`` and its parameters) describes."""
    name, options = _name_and_options("sampler", node, SAMPLERS)
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
        if name == "cmaes":
            import cmaes  # noqa: F401 - Optuna imports it only at the first trial
    except ImportError as error:
        raise ConfigError(
            f"Sampler {name!r} needs a package that is not installed: {error}. Install it with pip."
        ) from error
    except TypeError as error:
        raise ConfigError(f"Sampler {name!r} must be given its own options, but {error}.") from error
    return sampler


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
    return name, options

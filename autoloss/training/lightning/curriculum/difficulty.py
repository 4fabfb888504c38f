"""The difficulty of each sample, from a column of the data or from a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, unknown
from autoloss.core.registry.lookup import imported

LOSS = "loss"
Difficulty = str | Callable[[Any], Sequence[float] | Tensor]


def known_difficulty(given: Difficulty, dataset: Any) -> Tensor:
    """The difficulty [N] of each sample of ``dataset``; a larger number is harder.

    ``given`` is a key of the data, a function of the dataset that returns N numbers, or the import path
    ``module:function`` of one. The key is looked up in ``dataset.columns``, or else in each sample.
    """
    if callable(given) or ":" in given:
        return _checked(_function(given)(dataset), len(dataset), f"the difficulty that {given} gives")
    columns = getattr(dataset, "columns", None)
    if columns is not None:
        if given not in columns:
            raise unknown("key of the data", given, columns)
        return _checked(columns[given], len(dataset), f"the column {given!r}")
    return _checked([_of(dataset[i], given) for i in range(len(dataset))], len(dataset), f"the key {given!r}")


def _function(given: Difficulty) -> Callable[[Any], Any]:
    if callable(given):
        return given
    try:
        found = imported(given)
    except Exception as error:
        raise ConfigError(
            f"module.difficulty must be importable, but {given!r} raised {type(error).__name__}: {error}."
        ) from error
    if not callable(found):
        raise ConfigError(f"module.difficulty must be a function of the dataset, but {given!r} is {found!r}.")
    return found


def _of(sample: Any, key: str) -> Any:
    if not isinstance(sample, Mapping):
        raise ConfigError(
            f"A difficulty by key needs samples with names, but a sample is a {type(sample).__name__}. "
            "Write a function of the dataset: module.difficulty=module:function."
        )
    if key not in sample:
        raise unknown("key of the data", key, map(str, sample))
    return sample[key]


def _checked(numbers: Any, size: int, what: str) -> Tensor:
    try:
        found = torch.as_tensor(numbers, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"A difficulty must be one number for each sample, but {what} is not: {error}.") from error
    if found.shape != (size,):
        raise ConfigError(
            f"A difficulty must be [{size}], one number for each sample, but {what} is {list(found.shape)}."
        )
    if not bool(found.isfinite().all()):
        raise ConfigError(
            f"A difficulty must be finite, but {what} is not for sample {int((~found.isfinite()).int().argmax())}."
        )
    return found

"""Composes once for many configurations that differ in values only: Hydra reads its files again for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from autoloss.app.overrides import parse

Chosen = dict[tuple[str, ...], DictConfig]  # what was composed, by the overrides that are no values
_VALUES = ("seed", "test")  # keys without a dot that are no group


def with_values(compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str], chosen: Chosen) -> DictConfig:
    """What ``compose(overrides)`` gives; ``chosen`` keeps what it gave without the values.

    Hydra chooses the files first, and then sets values in the order in which they are typed. So the values can be set
    on a copy. The result is the same, unless a whole mapping is typed after one of its values: that is composed anew.
    """
    parsed = parse(overrides)
    values = [one for one in parsed if _is_value(one)]
    rest = [one for one in parsed if not _is_value(one)]
    if any(_replaces(one, before) for i, one in enumerate(parsed) for before in parsed[:i]):
        return compose(overrides)
    key = tuple(str(one.input_line) for one in rest)
    if key not in chosen:
        chosen[key] = compose(key)
    config = deepcopy(chosen[key])
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return config


def _is_value(one: Override) -> bool:
    dotted = "." in one.key_or_group and one.package is None and "/" not in one.key_or_group
    plain = not one.is_sweep_override() and not one.is_hydra_override()
    return plain and (dotted or (one.key_or_group in _VALUES and one.package is None))


def _replaces(one: Override, before: Override) -> bool:
    """Whether ``one``, which is composed first, may change what ``before`` sets, which is set on the copy."""
    inside = before.key_or_group == one.key_or_group or before.key_or_group.startswith(f"{one.key_or_group}.")
    return inside and _is_value(before) and not _is_value(one)

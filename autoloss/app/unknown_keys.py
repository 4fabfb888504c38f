"""Says in one sentence why there is no key of a name that was typed, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoloss.app.config_source import GROUPS
from autoloss.app.nested import node_at
from autoloss.app.verbs import VERBS
from autoloss.core.errors import ConfigError, UnknownNameError, unknown
from autoloss.core.io.override_key import key_of
from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import ORIGIN, registry

_SHOWN = 5  # at most so many components are named
_TERM = "TERM"  # stands for the name of a loss of the problem, where the problem has not said any


def unknown_key(verb: str, overrides: Sequence[str], key: str) -> ConfigError | UnknownNameError:
    """The error for ``key``, which the configuration of ``verb`` has not; Hydra must be initialised."""
    first = key.partition(".")[0]
    typed = next((one for one in overrides if key_of(one) == key), f"{key}=...")
    if first == "loss":
        return loss_without_term(verb, overrides, typed)
    if first in VERBS and VERBS[first].composes and first != verb:
        value = typed.partition("=")[2]
        sweeper = f", or hydra.sweeper.{key.partition('.')[2]}={value} with hydra/sweeper=autoloss"
        instead = f"autoloss {first} {typed}" + (sweeper if (verb, first) == ("train", "search") else "")
        return ConfigError(
            f"A key must be one of autoloss {verb}, but {key} is one of autoloss {first}. Write {instead}."
        )
    config = _without(verb, overrides, key)
    if typed.partition("=")[2].startswith("{") and isinstance(node_at(config, key.split(".")), Mapping):
        return ConfigError(
            f"A component is named, and its parameters are keys of their own, but {typed!r} gives both at once. "
            f"Write {key}=NAME {key}.PARAMETER=VALUE."
        )
    deeper = [one for one in _leaves(config) if one.endswith((f".{key}", f"_{key}"))]
    if len(deeper) == 1:
        return UnknownNameError(f"No key is called {key!r}. Did you mean {deeper[0]!r}?")
    return _of_another_component(config, key) or unknown("key", key, _siblings(config, key))


def other_shape(verb: str, overrides: Sequence[str], key: str, value: str) -> ConfigError:
    """The error for a ``value`` that is a list where ``key`` holds keys, or the other way round."""
    if isinstance(node_at(_without(verb, overrides, key), key.split(".")), list):
        return ConfigError(f"{key} is a list, but it was set to {value}. Write {key}=[{value}].")
    return ConfigError(f"{key} holds keys with values, but it was set to {value}. Write {key}.KEY=VALUE.")


def loss_without_term(verb: str, overrides: Sequence[str], typed: str) -> ConfigError:
    """The error for ``loss=focal`` and ``losses=focal``, which do not say whose loss it is."""
    key, _, value = typed.partition("=")
    found = _without(verb, overrides, key.lstrip("+~")).get("losses")
    terms = list(found) if isinstance(found, Mapping) else []
    some = f" The problem's losses are {', '.join(map(str, terms))}." if terms else ""
    return ConfigError(
        f"A loss must be chosen for one of the problem's losses, but {typed!r} names none. "
        f"Write losses.{terms[0] if terms else _TERM}={value}.{some}"
    )


def _of_another_component(config: Mapping[str, Any], key: str) -> UnknownNameError | None:
    """The error for a parameter that another component of the same kind has, or ``None`` if none has it."""
    *parent, parameter = key.split(".")
    kind = "loss" if "losses" in parent[-2:-1] else parent[-1] if parent else ""
    node = node_at(config, parent)
    if kind not in GROUPS or not isinstance(node, Mapping) or "name" not in node:
        return None
    # Those of plugins would have to be imported.
    others = [one.name for one in registry.listings[kind] if one.origin == ORIGIN and parameter in defaults(one)]
    if not others:
        return None
    own = ", ".join(str(one) for one in node if one != "name") or "none"
    some = ", ".join(others[:_SHOWN]) + (", ..." if len(others) > _SHOWN else "")
    return UnknownNameError(
        f"No key is called {key!r}: {node['name']} has the parameters {own}, and {parameter} is one of {some}. "
        f"Write for example {'.'.join(parent)}={others[0]}."
    )


def _without(verb: str, overrides: Sequence[str], key: str) -> Mapping[str, Any]:
    """The configuration without what sets ``key``; empty if that cannot be composed either."""
    kept = [one for one in overrides if key not in one.partition("=")[0]]
    try:
        config: Any = OmegaConf.to_container(compose(verb, overrides=kept), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return {}
    return config if isinstance(config, Mapping) else {}


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted keys of everything in ``config`` that is not a mapping."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _siblings(config: Mapping[str, Any], key: str) -> list[str]:
    """The keys of the mapping in which ``key`` should be."""
    node: Any = config
    at: list[str] = []
    for part in key.split(".")[:-1]:
        if not isinstance(node, Mapping) or part not in node:
            break
        node, at = node[part], [*at, part]
    return [".".join([*at, str(name)]) for name in node] if isinstance(node, Mapping) else []

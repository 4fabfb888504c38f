"""Checks the types of a configuration's keys: each key must have the type of its default in the YAML files.

The check is `core/registry/parameters`, as for the parameters of components. OmegaConf's structured configurations
would be a second mechanism: they have no type for a list of schedules, and would import every component.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from omegaconf import OmegaConf

from autoloss.app.config_source import conf_dir
from autoloss.app.current_config import run_yaml
from autoloss.app.verbs import VERBS
from autoloss.core.errors import AutolossError, ConfigError, unknown
from autoloss.core.registry.defaults import attribute
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import faults

# The types of keys that may be null.
NULLABLE: dict[str, type] = {
    "ckpt": str,
    "compare.baseline": str,
    "diagnose.epochs": int,
    "discriminator.clip": float,
    "group_by": str,
    "generator.average": float,
    "generator.clip": float,
    "held_out.batch_size": int,
    "pace.target": float,
    "plateau.metric": str,
    "search.patience": int,
    "search.storage": str,
    "threads": int,
    "unseen": str,
}
# What is in these lists and mappings.
INSIDE: dict[str, Any] = {
    "problems": Sequence[str],
    "search.losses": Mapping[str, Sequence[Any]],
    "search.objectives": Sequence[str],
    "search.weightings": Sequence[str],
}
# A number, or a word or a unit: the code that reads it checks it.
WORD_OR_NUMBER = ("compare.fleet", "search.fleet", "search.guard", "search.pruner.max_resource", "search.timeout")
_OPTIMIZER = {"lr": 1.0, "weight_decay": 1.0, "momentum": 1.0}
# Other code checks these keys: Hydra and the registry.
CHECKED_ELSEWHERE = ("defaults", "name", "losses")


def check_types(config: Mapping[str, Any]) -> None:
    """Raise one :class:`ConfigError` that lists every value of a wrong type, such as text for a number."""
    module = config["module"]
    name = module.get("name") if isinstance(module, Mapping) else module
    found = list(dict.fromkeys(_wrong(config, {**_defaults(str(name)), **_own(config)}, "")))
    if found:
        raise ConfigError("\n".join(found))


@lru_cache(maxsize=8)
def _defaults(module: str) -> dict[str, Any]:
    """The default of each key in the YAML files of a run, with the keys that ``module`` brings."""
    content = dict(run_yaml())
    try:
        brought = attribute(registry.find("module", module), "brings", {})
    except AutolossError:
        brought = {}  # building the module raises this error again
    for group, option in dict(brought).items():
        path = conf_dir() / str(group).strip("/") / f"{option}.yaml"
        if path.is_file():
            keys: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            content.update(keys)
    content["optimizer"] = _OPTIMIZER
    return {**{key: value for key, value in content.items() if key not in CHECKED_ELSEWHERE}, "losses": {}}


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    """The default of each key in ``config`` that a verb has for itself."""
    own = {key: default for verb in VERBS for key, default in own_keys(verb).items() if key in config}
    search = config.get("search")
    if isinstance(search, Mapping) and "search" in own:
        options = {group: _option(f"search/{group}", search.get(group)) for group in ("sampler", "pruner")}
        own["search"] = {**own["search"], **options}
    return own


@lru_cache
def own_keys(verb: str) -> dict[str, Any]:
    """The default of each key that ``verb`` has beside those of a run; empty for one that composes nothing."""
    path = conf_dir() / f"{verb}.yaml"
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    return {key: of for key, of in content.items() if key not in ("defaults", "hydra") and key not in run_yaml()}


def _option(group: str, node: Any) -> dict[str, Any]:
    """The default of each key in the YAML file of the option ``node`` of ``group``."""
    path = conf_dir() / group / f"{node.get('name') if isinstance(node, Mapping) else node}.yaml"
    content: Any = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else {}
    return dict(content)


def _wrong(config: Mapping[str, Any], defaults: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, default in defaults.items():
        if key not in config:
            continue
        path, value = f"{above}{key}", config[key]
        mistakes = list(faults(path, value, _type(path, default)))
        yield from (f"{where} must be {rule}, but it is {found!r}." for where, rule, found in mistakes)
        if not mistakes and isinstance(default, dict) and default:
            # A player, whose components may have any keys; a class of torch or Optuna, which knows its own.
            free = not {"weighting", "_target_", "name"}.isdisjoint(value)
            for other in () if free else value:
                if other not in default:
                    yield str(unknown(f"key of {path}", str(other), default))
            yield from _wrong(value, default, f"{path}.")


def _type(path: str, default: Any) -> Any:
    if path in NULLABLE:
        return NULLABLE[path] | None
    if path in INSIDE:
        return INSIDE[path]
    if default is None or path in WORD_OR_NUMBER:
        return Any
    if isinstance(default, dict):
        return Mapping[str, Any]
    return Sequence[Any] if isinstance(default, list) else type(default)

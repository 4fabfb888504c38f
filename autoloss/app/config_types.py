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
from autoloss.core.errors import AutolossError, ConfigError, unknown
from autoloss.core.registry.defaults import attribute
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import faults

# The types of keys that may be null.
NULLABLE: dict[str, type] = {
    "ckpt": str,
    "discriminator.clip": float,
    "group_by": str,
    "generator.average": float,
    "generator.clip": float,
    "held_out.batch_size": int,
    "pace.target": float,
    "plateau.metric": str,
    "threads": int,
}
_OPTIMIZER = {"lr": 1.0, "weight_decay": 1.0, "momentum": 1.0}
# Other code checks these keys: Hydra and the registry.
CHECKED_ELSEWHERE = ("defaults", "name", "losses")


def check_types(config: Mapping[str, Any]) -> None:
    """Raise one :class:`ConfigError` that lists every value of a wrong type, such as text for a number."""
    module = config["module"]
    name = module.get("name") if isinstance(module, Mapping) else module
    found = list(dict.fromkeys(_wrong(config, _defaults(str(name)), "")))
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


def _wrong(config: Mapping[str, Any], defaults: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, default in defaults.items():
        if key not in config:
            continue
        path, value = f"{above}{key}", config[key]
        mistakes = list(faults(path, value, _type(path, default)))
        yield from (f"{where} must be {rule}, but it is {found!r}." for where, rule, found in mistakes)
        if not mistakes and isinstance(default, dict) and default:
            # A player, whose components may have any keys; a class of torch, which knows its own.
            free = "weighting" in value or "_target_" in value
            for other in () if free else value:
                if other not in default:
                    yield str(unknown(f"key of {path}", str(other), default))
            yield from _wrong(value, default, f"{path}.")


def _type(path: str, default: Any) -> Any:
    if path in NULLABLE:
        return NULLABLE[path] | None
    if default is None:
        return Any
    if isinstance(default, dict):
        return Mapping[str, Any]
    return Sequence[Any] if isinstance(default, list) else type(default)

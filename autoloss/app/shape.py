"""Whether the keys of a configuration have values of the kind that they have by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from omegaconf import OmegaConf

from autoloss.app.composition import conf_dir
from autoloss.core.errors import ConfigError, unknown
from autoloss.core.registry.parameters import NAMES

# What null stands for, where that is the default: the kind of value that may be there instead.
INSTEAD = {
    "ckpt": "",
    "generator.clip": 0.0,
    "held_out.batch_size": 0,
    "module": "",
    "plateau.metric": "",
    "threads": 0,
    "discriminator.clip": 0.0,
    "generator.average": 0.0,
    "pace.target": 0.0,
}
KINDS: dict[type, str] = {**NAMES, list: "a list", dict: "a mapping"}
# Lightning's and the registry's own: they say what is wrong with those.
OTHERS = ("defaults", "name", "losses")


def check_shape(config: Mapping[str, Any]) -> None:
    """Raise one :class:`ConfigError` that lists what cannot be read: text for a number, a list for a mapping."""
    found = list(dict.fromkeys(_faults(config, _usual(), "")))
    if found:
        raise ConfigError("\n".join(found))


@lru_cache(maxsize=1)
def _usual() -> dict[str, Any]:
    """The values of the keys that the YAML files of a run give, as they are written."""
    usual: dict[str, Any] = {}
    for name in ("run", "players/gan"):
        content = OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{name}.yaml"), resolve=False)
        usual |= {str(key): value for key, value in dict(content).items() if key not in OTHERS}  # type: ignore[arg-type]
    return {**usual, "losses": {}}


def _faults(config: Mapping[str, Any], usual: Mapping[str, Any], above: str) -> Iterator[str]:
    for key, default in usual.items():
        if key not in config:
            continue
        path, value = f"{above}{key}", config[key]
        null = default is None
        wanted = INSTEAD.get(path) if null else default
        if wanted is None or (null and value is None):
            continue
        if not _alike(value, wanted):
            yield f"{path} must be {KINDS[type(wanted)]}{' or null' if null else ''}, but it is {value!r}."
        elif isinstance(default, dict) and default:
            free = "weighting" in value  # a player's: a component of the registry has any keys
            for other in () if free else value:
                if other not in default:
                    yield str(unknown(f"key of {path}", str(other), default))
            yield from _faults(value, default, f"{path}.")


def _alike(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))

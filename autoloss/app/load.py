"""Reads the overrides of a configuration file: ``load=best.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from autoloss.core.errors import ConfigError
from autoloss.core.io.yaml_file import read_text


def loaded(file: str) -> list[str]:
    """The overrides in a YAML file: a list under ``overrides``, or plain keys; else it raises :class:`ConfigError`."""
    path = Path(file.strip("'\""))
    if not path.is_file():
        raise ConfigError(f"load must name a file, but there is no file {str(path)!r}.")
    text = read_text(path)
    try:
        content = OmegaConf.to_container(OmegaConf.load(StringIO(text)), resolve=False)
    except (YAMLError, OmegaConfBaseException, OSError, ValueError, TypeError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"load must name a YAML file, but {str(path)!r} is not one: {first}.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"load must name a YAML file of keys, but {str(path)!r} holds {type(content).__name__}.")
    if set(content) == {"overrides"}:
        return [str(one) for one in content["overrides"]]
    return _flat({str(key): value for key, value in content.items()})


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{prefix}{key}.")
        else:
            shown = "null" if value is None else str(value).replace(" ", "") if isinstance(value, list) else value
            lines.append(f"{prefix}{key}={shown}")
    return lines

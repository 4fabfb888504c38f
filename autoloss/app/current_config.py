"""Converts a configuration of 0.1.0, or one with missing keys, to a configuration of this version."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from omegaconf import OmegaConf

from autoloss.app.config_source import DEFAULT_MODULE, conf_dir
from autoloss.core.errors import AutolossError, require
from autoloss.core.registry.defaults import attribute
from autoloss.core.registry.lookup import registry

OLD_KEY = "curriculum"  # where 0.1.0 had the parameters of the module of that name
OF_HELD_OUT = ("auto_lambda", "learned", "reweight", "meta_weight_net")  # what learned from held-out losses in 0.1.0
IGNORED_KEYS = ("ckpt", "fresh", "name", "workers", "threads")


def current(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the keys of this version; a missing key gets its value from ``conf/run.yaml``.

    0.1.0 wrote ``module`` as a name, or as null for the module that the problem is made for, and wrote the parameters
    of a curriculum under ``curriculum``. The old keys still work. A run of 0.1.0 that learned from held-out
    losses is one with ``held_out.objective=sum`` and ``held_out.source=share``.
    """
    found = _filled(run_yaml(), config)
    held_out = config.get("held_out")
    if isinstance(held_out, Mapping) and "primary" in held_out and "objective" not in held_out:
        learners = {_name(config.get(key)) for key in ("weighting", "sample_weighting")}
        if learners.intersection(OF_HELD_OUT):
            found["held_out"] = {**found["held_out"], "objective": "sum", "source": "share"}
    found["sample_weighting"] = found.get("sample_weighting") or {"name": "uniform", "terms": []}
    old, module = found.pop(OLD_KEY, None) or {}, found.get("module")
    require(
        isinstance(old, Mapping), f"{OLD_KEY} must be a mapping", f"it is {old!r}", "Write module.pacing=... instead."
    )
    node = dict(module) if isinstance(module, Mapping) else {"name": module}
    node["name"] = node.get("name") or _module_of(found.get("problem"))
    found["module"] = {**node, **(old if node["name"] == OLD_KEY else {})}
    return found


def training_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``config`` that decides what is trained, with the keys of this version."""
    return {key: without_loggers(key, x) for key, x in current(config).items() if key not in IGNORED_KEYS}


def without_loggers(key: str, value: Any) -> Any:
    """The flags of the trainer without the one that says who else is told what is measured."""
    same = key != "trainer" or not isinstance(value, Mapping)
    return value if same else {flag: x for flag, x in value.items() if flag != "logger"}


def _module_of(problem: Any) -> str:
    """The name of the module that the problem of the configuration node ``problem`` is made for."""
    try:
        return str(attribute(registry.find("problem", _name(problem)), "module", DEFAULT_MODULE))
    except AutolossError:
        return DEFAULT_MODULE


def _name(node: Any) -> str:
    """The name of the component that the configuration node ``node`` describes."""
    return str(node.get("name") if isinstance(node, Mapping) else node)


@lru_cache(maxsize=1)
def run_yaml() -> dict[str, Any]:
    """The keys of ``conf/run.yaml`` with their values, without the keys of groups."""
    content: Any = OmegaConf.to_container(OmegaConf.load(conf_dir() / "run.yaml"), resolve=False)
    return {str(key): value for key, value in content.items() if key != "defaults"}


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    found = {**defaults, **given}
    for key, value in defaults.items():
        inside = given.get(key)
        if isinstance(value, Mapping) and isinstance(inside, Mapping):
            found[key] = _filled(value, inside)
    return found

"""The only caller of ``hydra.utils.instantiate``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import HydraException
from omegaconf import OmegaConf

from autoloss.core.errors import ConfigError
from autoloss.core.registry import ORIGIN, registry

ALLOWED = ("autoloss", "torch", "pytorch_lightning", "lightning")


def factory(node: Mapping[str, Any]) -> Any:
    """What the node's ``_target_`` names, with the node's other keys bound as arguments.

    Only targets from autoloss, torch, Lightning and installed plugins are made: a configuration
    file may come from somebody else.
    """
    target = str(node.get("_target_", ""))
    plugins = {
        listing.target.split(".")[0].split(":")[0]
        for listings in registry.listings.values()
        for listing in listings
        if listing.origin != ORIGIN
    }
    allowed = [*ALLOWED, *sorted(plugins)]
    if target.split(".")[0] not in allowed:
        raise ConfigError(f"A _target_ must lie in one of {', '.join(allowed)}, but it is {target!r}.")
    extra: dict[str, Any] = {}
    if "_execution_whitelist_" in inspect.signature(hydra.utils.instantiate).parameters:
        extra["_execution_whitelist_"] = [f"{module}.*" for module in allowed]
    try:
        return hydra.utils.instantiate(OmegaConf.create(dict(node)), _partial_=True, **extra)
    except HydraException as error:
        raise ConfigError(f"{target} must be importable, but that failed: {str(error).splitlines()[0]}.") from error

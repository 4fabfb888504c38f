"""Makes the class that a ``_target_`` names: an optimiser or a learning-rate scheduler, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from autoloss.app.trust import was_typed
from autoloss.core.errors import AutolossError, ConfigError, first_line, require, unknown
from autoloss.core.registry.lookup import ORIGIN, registry

ALLOWED = ("torch.optim", "autoloss")


def factory(node: Mapping[str, Any], base: type) -> partial[Any]:
    """The subclass of ``base`` that the node's ``_target_`` names, with the node's other keys bound as arguments.

    The class must lie in torch.optim, in autoloss or in an installed plugin, or the user must have typed it: another
    person may have written the configuration file. ``hydra.utils.instantiate`` is not used: it calls any function that
    a ``_target_`` names, at any depth, and reaches any module through the attributes of an allowed one.
    """
    target, parameters = str(node.get("_target_", "")), {k: v for k, v in node.items() if k != "_target_"}
    plugins = {
        listing.target.split(".")[0].split(":")[0]
        for listings in registry.listings.values()
        for listing in listings
        if listing.origin != ORIGIN
    }
    allowed = [*ALLOWED, *sorted(plugins)]
    if not any(target.startswith(f"{one}.") for one in allowed) and not was_typed(target):
        raise ConfigError(
            f"A _target_ must lie in one of {', '.join(allowed)}, or be typed on the command line, but it is "
            f"{target!r}."
        )
    hidden = sorted(_underscored(parameters))
    require(not hidden, "A _target_'s parameters must be plain values", f"{', '.join(hidden)} is among them")
    module, _, name = target.rpartition(".")
    try:
        made = getattr(import_module(module), name)
    except Exception as error:
        raise ConfigError(f"{target} must be importable, but that failed: {first_line(error)}.") from error
    if not (inspect.isclass(made) and issubclass(made, base)):
        raise ConfigError(f"{target} must be a subclass of {base.__name__}, but it is {made!r}.")
    known = inspect.signature(made).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in parameters:
            if key not in known:
                raise unknown(f"parameter of {target}", key, list(known)[1:])
    return partial(made, **parameters)


def check_call(make: partial[Any], argument: Any, title: str) -> None:
    """Raise :class:`ConfigError` unless ``make(argument)`` works; ``title`` is what the error calls it."""
    try:
        make(argument)
    except AutolossError:
        raise
    except Exception as error:
        raise ConfigError(f"{title} must take its parameters, but it does not: {first_line(error)}.") from error


def _underscored(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        here = {str(key) for key in value if str(key).startswith("_")}
        return here.union(*(_underscored(one) for one in value.values()))
    return set().union(*(_underscored(one) for one in value)) if isinstance(value, list) else set()

"""Lightning's Trainer from the flags of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_type_hints

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from autoloss.core.errors import ConfigError
from autoloss.core.registry.parameters import faults

ABOVE_0 = ("max_epochs", "limit_train_batches")


def check_trainer(flags: Mapping[str, Any]) -> None:
    """Raise one :class:`ConfigError` that lists the flags whose value does not fit Lightning's type annotation."""
    hints = get_type_hints(pl.Trainer.__init__)
    found = [
        f"trainer.{where} must be {rule}, but it is {value!r}."
        for flag, given in flags.items()
        for where, rule, value in faults(flag, given, hints.get(flag, Any))
    ]
    found += [f"trainer.{flag} must be above 0, but it is 0." for flag in ABOVE_0 if flags.get(flag) == 0]
    if found:
        raise ConfigError("\n".join(found))


def build_trainer(flags: Mapping[str, Any], **others: Any) -> pl.Trainer:
    """The Trainer; raises :class:`ConfigError` if the flags, or this machine, do not suit it."""
    # These start the processes otherwise, which autoloss does itself.
    strategy = re.sub(r"^ddp_(spawn|fork|notebook)(?=_|$)", "ddp", str(flags.get("strategy", "auto")))
    try:
        return pl.Trainer(**{**flags, "strategy": strategy}, **others)
    except (MisconfigurationException, TypeError, ValueError) as error:
        message = " ".join(str(error).split()).rstrip(".!")
        raise ConfigError(f"The keys trainer.* must suit Lightning's Trainer, but it says: {message}.") from error

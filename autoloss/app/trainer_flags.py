"""Lightning's Trainer from the flags of a configuration."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_type_hints

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.accelerators import CPUAccelerator

from autoloss.app.ranks.environment import RankEnvironment
from autoloss.core.errors import ConfigError
from autoloss.core.registry.parameters import faults
from autoloss.training.lightning.loggers import other_loggers

LOGGERS = ("pytorch_lightning", "lightning_fabric")
# What training gives the Trainer itself; a flag of the same name is refused.
_OURS: dict[str, Any] = {
    **{"default_root_dir": ".", "logger": True, "callbacks": [], "enable_progress_bar": False},
    **{"enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0},
}
_ANY_MACHINE = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
# A strategy or a precision whose package is missing raises the last two.
_REFUSED = (MisconfigurationException, TypeError, ValueError, RuntimeError, ImportError)
ABOVE_0 = (
    *("max_epochs", "limit_train_batches", "limit_val_batches", "accumulate_grad_batches", "check_val_every_n_epoch"),
    "num_nodes",
)
ENDLESS = -1  # of max_epochs and max_steps
_passed: set[str] = set()  # flags that were checked: the many runs of a search have the same ones


def check_trainer(flags: Mapping[str, Any], here: bool = True) -> None:
    """Raise one :class:`ConfigError` for flags whose value does not fit Lightning's type annotation, or its Trainer.

    Lightning and this machine decide which accelerators and precisions there are: a Trainer is made and dropped.
    Where the run is trained on another machine (not ``here``), what depends on the machine is left out.
    """
    same = repr((sorted(flags.items()), here))
    if same in _passed:
        return
    other_loggers(flags.get("logger"))
    flags = {flag: value for flag, value in flags.items() if flag != "logger"}
    hints = get_type_hints(pl.Trainer.__init__)
    found = [
        f"trainer.{where} must be {rule}, but it is {value!r}."
        for flag, given in flags.items()
        for where, rule, value in faults(flag, given, hints.get(flag, Any))
    ]
    numbers = {flag: flags[flag] for flag in ABOVE_0 if isinstance(flags.get(flag), (int, float))}
    found += [
        f"trainer.{flag} must be above 0, but it is {number}."
        for flag, number in numbers.items()
        if number <= 0 and (flag, number) != ("max_epochs", ENDLESS)
    ]
    if found:
        raise ConfigError("\n".join(found))
    with _unchanged():
        trainer = build_trainer(flags if here else {**flags, **_ANY_MACHINE}, **_OURS)
    cores = max(os.cpu_count() or 1, 2)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise ConfigError(
            f"trainer.devices on a CPU must be at most the number of its cores, {cores}, but it is "
            f"{trainer.num_devices}."
        )
    _passed.add(same)


@contextmanager
def _unchanged() -> Iterator[None]:
    """Within it a Trainer may set what belongs to the process; afterwards that is as before, and nothing is said."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    environment, rank = dict(os.environ), getattr(rank_zero_only, "rank", 0)
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        for key in set(os.environ) - set(environment):
            del os.environ[key]
        os.environ.update(environment)
        rank_zero_only.rank = rank  # type: ignore[attr-defined]


def build_trainer(flags: Mapping[str, Any], plugins: Sequence[Any] = (), **others: Any) -> pl.Trainer:
    """The Trainer; raises :class:`ConfigError` if the flags, or this machine, do not suit it.

    It takes its place among several processes from :class:`RankEnvironment`, not from the variables of Slurm.
    """
    # These start the processes otherwise, which autoloss does itself.
    strategy = re.sub(r"^ddp_(spawn|fork|notebook)(?=_|$)", "ddp", str(flags.get("strategy", "auto")))
    ours = {**flags, "strategy": strategy}
    ours.pop("logger", None)  # a name, from which the caller has built the loggers
    try:
        return pl.Trainer(**ours, plugins=[*plugins, RankEnvironment()], **others)
    except _REFUSED as error:
        message = " ".join(str(error).split()).rstrip(".!")
        raise ConfigError(f"The keys trainer.* must suit Lightning's Trainer, but it says: {message}.") from error

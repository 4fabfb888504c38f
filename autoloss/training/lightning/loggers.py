"""Lightning's loggers: TensorBoard, which each run has, and others beside it, which get the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning import loggers
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from autoloss.core.errors import ConfigError, require

NOISE = ("epoch",)  # Lightning adds it to all that is logged; the record has it
OTHERS = {"csv": "", "wandb": "wandb", "mlflow": "mlflow"}  # by name the package that each needs


class Board(TensorBoardLogger):
    """Writes metrics beside the record, in the same file, without :data:`NOISE`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name: x for name, x in metrics.items() if name not in NOISE}, step)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's row of the table is written at the end, with its metrics."""


def other_loggers(named: Any) -> list[str]:
    """The names in the key ``trainer.logger``: nothing, a name or a list of names.

    Raises :class:`ConfigError` for one that is not known, or whose package is missing.
    """
    several = isinstance(named, Iterable) and not isinstance(named, str)
    names: list[Any] = [] if named is None else list(named) if several else [named]
    for name in names:
        require(
            isinstance(name, str) and name in OTHERS,
            f"trainer.logger must be null, one of {', '.join(OTHERS)}, or a list of them",
            f"it is {name!r}",
            "TensorBoard is always written.",
        )
        if (package := OTHERS[name]) and find_spec(package) is None:
            raise ConfigError(
                f"trainer.logger={name} needs the package {package}, but it is not installed. Run `pip install "
                f"{package}`."
            )
    return list(dict.fromkeys(names))


def build_others(names: Sequence[str], directory: Path, title: str) -> list[Logger]:
    """The loggers ``names``, which write below ``directory``; W&B and MLflow go where their own settings say."""
    made = {
        "csv": lambda: loggers.CSVLogger(str(directory), name="csv"),
        "wandb": lambda: loggers.WandbLogger(name=title, save_dir=str(directory), project="autoloss"),
        "mlflow": lambda: loggers.MLFlowLogger("autoloss", title, save_dir=str(directory / "mlruns")),
    }
    return [made[name]() for name in names]


def beside(trainer: pl.Trainer) -> list[Logger]:
    """The loggers of ``trainer`` that are not TensorBoard's."""
    return [logger for logger in trainer.loggers if not isinstance(logger, TensorBoardLogger)]

"""A run that is to be trained, alone or in a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from autoloss.app.train_one import train
from autoloss.training.fleet.training import Report
from autoloss.training.lightning.callbacks.report_metrics import ReportMetrics


@dataclass(slots=True)
class Request:
    """A run to be trained, as for :func:`train`."""

    config: Mapping[str, Any]
    directory: Path
    overrides: Sequence[str] = ()
    title: str = ""
    command: Sequence[str] = ()
    report: Report | None = None
    fold: tuple[int, int] | None = None


Trained = dict[str, Any] | Exception


def train_alone(request: Request) -> dict[str, Any]:
    """Train one run; the metrics of each validation are reported, if it is no fold."""
    callbacks: list[Callback] = [] if request.report is None else [ReportMetrics(request.report)]
    return train(
        request.config,
        request.directory,
        request.overrides,
        callbacks=callbacks,
        title=request.title,
        fold=request.fold,
        command=request.command,
    )

"""A run that is to be trained, alone or in a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from autoloss.app.table_row import table_row
from autoloss.app.train_one import train
from autoloss.training.fleet.training import Report
from autoloss.training.lightning.callbacks.report_metrics import ReportMetrics
from autoloss.training.record.hparams import TableRow


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

    @property
    def row(self) -> TableRow:
        """What TensorBoard's table says of it; a run that reports to a search, and a fold, do not say the columns."""
        return table_row(self.config, self.overrides, listed=self.report is None and self.fold is None)


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
        row=request.row,
    )

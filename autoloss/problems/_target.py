"""A column of a sheet as what a network predicts."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.problems._column import Column, center_and_scale

LOSSES = {"regression": "mse", "binary": "binary_cross_entropy", "multiclass": "cross_entropy"}


@dataclass(frozen=True)
class Target:
    """N labels of one kind: ``labels`` [N] are numbers or classes, ``present`` [N] says where there are any."""

    name: str
    kind: str
    labels: Tensor
    present: Tensor
    size: int
    classes: tuple[str, ...] = ()

    @property
    def term(self) -> str:
        """The loss's name: the column's, with ``_`` for what is no letter, digit or ``_``."""
        return re.sub(r"\W+", "_", self.name).strip("_")

    @property
    def metric(self) -> str:
        """The metric's name."""
        return f"{self.term}_mse" if self.kind == "regression" else f"{self.term}_error"

    def encoded(self, fit: Tensor, rows: Tensor) -> Tensor:
        """What predictions of ``rows`` are compared with; numbers are standardised as those of the rows ``fit``.

        [len(rows), 1] float for ``regression`` and ``binary``, [len(rows)] int64 for ``multiclass``.
        """
        if self.kind == "multiclass":
            return self.labels[rows].clamp(min=0)
        center, scale = center_and_scale(self.labels[fit]) if self.kind == "regression" else (0.0, 1.0)
        return ((self.labels[rows] - center) / scale).nan_to_num().float().unsqueeze(1)

    def wrong(self, prediction: Tensor, target: Tensor) -> Tensor:
        """What the metric averages, [B]: whether the class is wrong, or the squared error in deviations."""
        if self.kind == "multiclass":
            return (prediction.argmax(1) != target).float()
        if self.kind == "binary":
            return ((prediction > 0) != (target > 0.5)).float().squeeze(1)
        return (prediction - target).square().squeeze(1)

    def constant(self, fit: Tensor, rows: Tensor) -> tuple[str, float]:
        """The best answer that is the same for every row, and the metric that it has.

        It is the mean or the commonest class of the rows ``fit``; the metric is that of ``rows``.
        """
        known = self.labels[fit][self.present[fit]]
        asked = self.labels[rows][self.present[rows]]
        if self.kind == "regression":
            center, scale = center_and_scale(known)
            return f"{center:.6g}", float(((asked - center) / scale).square().mean())
        commonest = int(known.long().bincount(minlength=len(self.classes)).argmax())
        return self.classes[commonest], float((asked != commonest).double().mean())


def target(column: Column, kind: str | None = None) -> Target:
    """The target in ``column``; the cells decide its kind where it is not given.

    Numbers are ``regression`` if there are more than ten different ones. Otherwise two different
    cells are ``binary``, and more ``multiclass``.
    """
    require(bool(column.distinct), "A target must have labels", f"every cell of {column.name!r} is missing")
    kind = kind or _kind(column)
    names: list[str] = []
    if kind == "regression":
        labels, size = column.numbers(), 1
        differ = len(labels[column.present].unique())
        require(differ > 1, "A target must have different values", f"every one of {column.name!r} is the same")
    else:
        labels, names = column.classes()
        size = 1 if kind == "binary" else len(names)
        require(len(names) > 1, "A target must have two classes", f"{column.name!r} has one, {names[0]!r}")
        shown = f"{column.name!r} has {len(names)}: {', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"
        require(kind != "binary" or len(names) == 2, "A binary target must have two classes", shown)
        count = int(column.present.sum())
        found = f"the {count} labels of {column.name!r} have {len(names)}"
        advice = "Predict another column, or set `kinds` of this one."
        require(2 * len(names) <= count, "Classes must have two labels each on average", found, advice)
        if kind == "binary":
            labels = torch.where(column.present, labels.double(), torch.nan)
    made = Target(column.name, kind, labels, column.present, size, tuple(names))
    require(bool(made.term), "A target's name must have a letter or a digit", f"it is {column.name!r}")
    return made


def _kind(column: Column) -> str:
    if column.numeric and not column.few:
        return "regression"
    return "binary" if len(column.classes()[1]) == 2 else "multiclass"

"""Reads run directories and writes pages about them; it computes nothing that a training needs."""

from functools import partial
from typing import TYPE_CHECKING

from autoloss._moved import moved_name
from autoloss.report.findings import Findings
from autoloss.report.record import RunRecord
from autoloss.report.write import read, write

__all__ = ["Findings", "RunRecord", "read", "write"]

if not TYPE_CHECKING:
    __getattr__ = partial(moved_name, "report")

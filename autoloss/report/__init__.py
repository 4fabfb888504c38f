"""Reads run directories and shows what is in them. Whatever it shows, somebody else wrote."""

from autoloss.report.record import Record
from autoloss.report.write import read, write

__all__ = ["Record", "read", "write"]

"""The table of a run's constraints: bounds, multipliers and slacks."""

from __future__ import annotations

from autoloss.core.io.text_table import number
from autoloss.report.page import Cell, PageTable
from autoloss.report.record import RunRecord


def constraint_table(record: RunRecord) -> list[PageTable]:
    """The table, or nothing for a run without constraints, or one that did not finish."""
    rows = []
    for name, of in record.summary.get("constraints", {}).items():
        what, _, side = name.rpartition(".")
        value, slack = of["value"], of["slack"]
        state = "never measured" if slack is None else "held" if slack >= 0 else f"missed by {-slack:.3g}"
        cells = [_cell(of["multiplier"]), _cell(value), _cell(slack)]
        rows.append([f"{what} {'>=' if side == 'min' else '<='} {of['bound']:g}", of["loss"], *cells, state])
    note = (
        "The weight of a loss is its base weight times the weighting's weight times 1 + multiplier. Slack: how far the "
        "value is within its bound. A loss is its mean over about ten steps, a metric its last validation."
    )
    return [PageTable("Constraints", ["bound", "acts on", "multiplier", "value", "slack", ""], rows, note)] * bool(rows)


def _cell(value: float | None) -> Cell | str:
    return "-" if value is None else Cell(number(value, ".4g"), value)

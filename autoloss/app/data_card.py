"""What a user should know of the data before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoloss.app.once import first_time
from autoloss.app.screen import say
from autoloss.app.workers import helper_number
from autoloss.core.io.files import write_text

if TYPE_CHECKING:
    from autoloss.core.problem import Problem

FILE = "data.txt"
LINES = 40  # of a card on the screen


def show_card(problem: Problem, directory: Path) -> None:
    """Print the card of the problem's data, once in a command, and keep it in ``directory``."""
    text = problem.data_card()
    if not text:
        return
    write_text(directory / FILE, text + "\n")
    if helper_number() or not first_time(text):
        return
    lines = text.splitlines()
    if len(lines) > LINES:
        notes = [line for line in lines if line.startswith("note: ")]
        columns = lines[: len(lines) - len(notes)]
        kept = max(LINES // 2, LINES - len(notes))
        more = f"... {len(columns) - kept} more lines are in {FILE}"
        lines = [*columns[:kept], *([more] if len(columns) > kept else []), *notes]
    say("\n".join([*lines, ""]))

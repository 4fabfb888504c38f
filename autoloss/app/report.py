"""``autoloss report``: writes the page of a run, sweep, search or comparison from its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoloss.app.arguments import Parser
from autoloss.app.screen import say, shown
from autoloss.core.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, or 2 for a user's mistake."""
    parser = Parser("report")
    parser.add_argument(
        "directories", metavar="DIR", nargs="+", type=Path, help="outputs/train/NAME, outputs/search/NAME, ..."
    )
    for directory in parser.parse_args(arguments).directories:
        if directory.is_dir():
            _inside(directory)
        say(f"report: {shown(_write(directory))}")
    return 0


def _inside(directory: Path) -> None:
    """Write the pages of the runs below ``directory``, so that its own page can link to them."""
    for trajectory in sorted(directory.glob("*/**/trajectory.csv")):
        if not (trajectory.parent / "report.html").exists():
            _write(trajectory.parent)


def _write(directory: Path) -> Path:
    from autoloss.report import write

    try:
        return write(directory)
    except OSError as error:
        raise ConfigError(
            f"A report is written into its directory, but {str(directory / 'report.html')!r} cannot be: "
            f"{error.strerror or error}. Copy the directory to a place where you may write."
        ) from error

"""Prints results on the terminal."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from autoloss.app.unmoved import unmoved_sentence
from autoloss.core.io.files import write_text
from autoloss.core.io.text_table import listed
from autoloss.core.passwords import without_passwords


def say(text: str, error: bool = False) -> None:
    """Print ``text`` beside a progress bar, and at once: Python would buffer the output to a file or a pipe."""
    file = sys.stderr if error else sys.stdout
    tqdm.write(without_passwords(text), file=file)
    file.flush()


def report(directory: Path) -> Path | None:
    """Write ``report.html`` in ``directory``; if that fails, say so and return ``None``: the run is finished anyway."""
    # The report imports numpy and scipy: a question, and a mistake, is answered without them.
    from autoloss.report import write as write_report

    try:
        return write_report(directory)
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        say(f"autoloss: {shown(directory)} has no report: {found}. Try again with `autoloss report DIR`.", error=True)
        return None


def print_run(directory: Path, summary: dict[str, Any]) -> None:
    """Print the result of one run, and the places of its files."""
    say(listed("final weights", summary["final_weights"]))
    if numbers := summary.get("loss_numbers"):
        say(listed("learned numbers", numbers))
    if bounds := summary.get("constraints"):
        say(listed("multipliers", {name: of["multiplier"] for name, of in bounds.items()}))
    if "test_metrics" in summary:
        say(listed("test", summary["test_metrics"]))
    if sentence := unmoved_sentence(directory):
        say(sentence)
    say(f"\n{places_line(directory)}")


def places_line(directory: Path, *more: str) -> str:
    """Where the results are and what to do with them; the directory is named once, in a command to copy."""
    files = ", ".join(name for name in ("report.html", *more) if (directory / name).exists())
    look = f"look at the weights: tensorboard --logdir {shlex.quote(str(shown(directory)))}"
    return f"{look}   (also there: {files})" if files else look


def print_sweep(root: Path) -> int:
    """Print and write the leaderboard of a sweep, from its files; 1 if a run failed or did not finish."""
    from autoloss.report.leaderboard import as_csv, as_markdown, as_text, build
    from autoloss.report.runs import read_runs
    from autoloss.report.sweep_decision import sweep_decision
    from autoloss.training.record.hparams import write_scores
    from autoloss.training.record.tensorboard import write_leaderboard

    runs = read_runs(root) if root.is_dir() else []
    board = build(runs)
    if not runs:
        say("autoloss: no run of this sweep left a result.", error=True)
        return 1
    write_text(root / "leaderboard.csv", as_csv(board))
    write_text(root / "leaderboard.md", as_markdown(board))
    write_leaderboard(root / "leaderboard", as_markdown(board))
    write_scores({run.directory: x for e in board.entrants for run, x in zip(e.runs, e.scores, strict=False)})
    report(root)
    say(f"\n{as_text(board)}")
    if decision := sweep_decision(board):
        say(f"\n{decision.text}")
    if sentence := unmoved_sentence(root):
        say(sentence)
    say(f"\n{places_line(root, 'leaderboard.md')}")
    return 1 if board.failed or board.unfinished else 0


def shown(path: Path) -> Path:
    """``path`` relative to the working directory if it is inside it, else absolute."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

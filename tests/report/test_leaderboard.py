"""What a leaderboard calls the runs that it ranks."""

from pathlib import Path

from autoloss.report.leaderboard import build
from autoloss.report.runs import Run


def run(*overrides, error=0.5):
    summary = {
        "overrides": ["weighting=equal", *overrides],
        "weighting": "equal",
        "metrics": {"error": error},
        "goals": {"error": "min"},
        "mean_weight_sum": 2.0,
    }
    return Run(Path("a"), summary)


def test_numbers_that_a_sampler_drew_are_shortened():
    board = build([run("optimizer.lr=0.00123456789012"), run("optimizer.lr=0.1", error=0.4)])
    assert {e.label for e in board.entrants} == {"equal optimizer.lr=0.001235", "equal optimizer.lr=0.1"}


def test_numbers_that_differ_late_are_told_apart():
    board = build([run("optimizer.lr=0.00123456"), run("optimizer.lr=0.00123457", error=0.4)])
    assert {e.label for e in board.entrants} == {"equal optimizer.lr=0.00123456", "equal optimizer.lr=0.00123457"}

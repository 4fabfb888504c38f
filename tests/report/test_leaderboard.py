"""What a leaderboard calls the runs that it ranks."""

import csv
import io
from pathlib import Path

from autoloss.report.leaderboard import as_csv, build, notes
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


def test_a_name_is_no_formula_in_a_spreadsheet():
    evil = '=HYPERLINK("http://x","y")'
    summary = {
        "metrics": {evil: -0.5, "+plus": 1.0},
        "goals": {},
        "weighting": "@evil",
        "mean_weight_sum": 1.0,
        "overrides": ["weighting=@evil"],
    }
    header, row = csv.reader(io.StringIO(as_csv(build([Run(Path("one"), summary)]))))
    assert header[5:7] == [f"'{evil}", "'+plus"]
    assert row[1] == "'@evil"
    assert row[5] == "-0.5"


def test_runs_without_a_metric_in_common_have_no_score():
    other = {"weighting": "equal", "metrics": {"x": 1.0}, "goals": {"x": "min"}, "mean_weight_sum": 1.0}
    board = build([run(), Run(Path("b"), other | {"overrides": ["weighting=equal", "problem=b"]})])
    assert notes(board) == ["The runs have no metric in common, so there is no score."]

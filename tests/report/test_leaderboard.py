"""What a leaderboard calls the runs that it ranks."""

import csv
import io
from math import isfinite
from pathlib import Path
from statistics import fmean

import pytest

from autoloss.report.intervals import paired
from autoloss.report.leaderboard import as_csv, build, notes
from autoloss.report.runs import Run, read_runs
from autoloss.report.verdict import compare
from tests.report.pages import charts_of


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


def test_the_interval_on_a_sweeps_page_is_that_of_the_paired_test(kinds_of_pages):
    """The seeds move both choices alike, so the paired interval is narrow: as `autoloss compare` has it."""
    board = build(read_runs(kinds_of_pages["sweep"]))
    base = next(e for e in board.entrants if e.label == board.baseline)
    _, charts = charts_of(kinds_of_pages["sweep"])
    for title, scores in (("Score", lambda e: e.scores), ("error", lambda e: e.values("error"))):
        for row in charts[title]["rows"]:
            entrant = next(e for e in board.entrants if e.label == row["name"])
            if entrant is base:
                assert row["low"] is row["high"] is None
                continue
            tested = compare({"it": scores(entrant)}, scores(base))["it"]
            middle = fmean(scores(base))
            if isfinite(tested.low):
                assert [row["low"], row["high"]] == pytest.approx([middle + tested.low, middle + tested.high], rel=1e-4)
            else:
                assert row["low"] is row["high"] is None


def test_differences_without_a_deviation_have_no_interval():
    mean, low, high = paired({0: 2.0, 1: 3.0, 2: 4.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert mean == 1.0
    assert low != low
    assert high != high

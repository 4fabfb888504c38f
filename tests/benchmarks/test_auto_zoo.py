"""The table of gains on made-up problems."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import auto_zoo

GOOD = {"equal": {"x": [0.0, 0.0], "y": [0.0]}, "auto": {"x": [0.2, 0.1], "y": [0.1]}}


def test_a_table_has_a_row_for_each_weighting():
    lines = auto_zoo.table(GOOD)
    assert lines[0].endswith("| x | y |")
    assert lines[3].startswith("| auto | +0.133 | 0.033 | 0% | +0.10 | +0.150 | +0.100 |")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"auto": {"x": [0.05, 0.05], "y": [0.05]}}, "the bar is +0.08"),
        ({"auto": {"x": [0.5, 0.5], "y": [-0.01]}}, "The mean of y is -0.010"),
        ({"auto": {"x": [0.5, -0.1], "y": [0.5]}}, "33% of the problems are below"),
        ({"dwa": {"x": [0.5, 0.5], "y": [0.5]}}, "dwa has +0.500 in the mean"),
    ],
)
def test_a_bar_that_is_missed_is_named(change, says):
    assert not auto_zoo.verdict(GOOD)
    assert says in " ".join(auto_zoo.verdict(GOOD | change))

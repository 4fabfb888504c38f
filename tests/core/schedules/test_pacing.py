"""Pacing functions against their formulas."""

import math
from itertools import pairwise

import pytest

from autoloss.core.errors import AutolossError
from autoloss.core.schedules.pacing import PACINGS, parse_pacing

TIMES = [i / 200 for i in range(201)]


@pytest.mark.parametrize("start", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("name", PACINGS)
def test_it_begins_at_start_ends_at_1_and_never_falls(name, start):
    pacing = PACINGS[name](start)
    assert pacing(0.0) == pytest.approx(start, abs=1e-9)
    assert pacing(1.0) == pytest.approx(1.0)
    shares = [pacing(t) for t in TIMES]
    assert all(a <= b for a, b in pairwise(shares))
    assert max(shares) <= 1


@pytest.mark.parametrize("name", ["linear", "root", "geometric", "logarithmic"])
def test_all_data_are_in_use_from_end_on(name):
    pacing = PACINGS[name](0.2, 0.5)
    assert pacing(0.49) < 1
    assert pacing(0.5) == pacing(0.9) == 1


def test_values_from_the_formulas():
    assert parse_pacing("root(0,1,2)")(0.5) == pytest.approx(math.sqrt(0.5))
    assert parse_pacing("root(0.2,1,3)")(0.0) == pytest.approx(0.2)
    assert parse_pacing("geometric(0.01)")(0.5) == pytest.approx(0.1)
    assert parse_pacing("exponential(0.1,2,0.25)")(0.5) == pytest.approx(0.4)
    assert parse_pacing("step(0.2,0.2,0.1)")(0.3) == pytest.approx(0.8)
    assert parse_pacing("logarithmic(0.5)")(math.exp(-5) - math.exp(-10)) == pytest.approx(0.75)
    assert parse_pacing(0.3)(0.9) == 0.3


def test_root_1_is_linear():
    for t in TIMES:
        assert parse_pacing("root(0.1,0.8,1)")(t) == parse_pacing("linear(0.1,0.8)")(t)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lineer(0.1)", "'linear'"),
        ("linear(1.5)", r"\[0, 1\]"),
        ("geometric(0)", r"\(0, 1\]"),
        ("root(0.1,1,0)", "`p` must be above 0"),
        ("linear(0.1,0)", "must take longer than 0"),
        ("exponential(0.1,0.9)", "`factor` must be above 1"),
        ("step(0.1,-1)", "`increase` must be above 0"),
        (1.5, "must lie in"),
        ("linear()", r"must be written as linear\(start\[, end\]\), with numbers, but it is 'linear\(\)'"),
    ],
)
def test_mistakes(text, said):
    with pytest.raises(AutolossError, match=said):
        parse_pacing(text)

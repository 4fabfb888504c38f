"""Schedules over progress."""

import math

import pytest

from autoloss.core.errors import AutolossError
from autoloss.core.schedules.schedule import parse_schedule


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (2, {0: 2, 1: 2}),
        ("constant(3)", {0: 3, 0.4: 3}),
        ("linear(0,2)", {0: 0, 0.5: 1, 1: 2}),
        ("linear(1,0,0.5,0.75)", {0: 1, 0.5: 1, 0.625: 0.5, 0.75: 0, 1: 0}),
        ("cosine(1,0)", {0: 1, 0.5: 0.5, 1: 0, 0.25: (1 + math.cos(math.pi / 4)) / 2}),
        ("step(0,1,0.3)", {0: 0, 0.29: 0, 0.3: 1, 1: 1}),
        ("cyclical(0,1,4,0.5)", {0: 0, 0.0625: 0.5, 0.125: 1, 0.2: 1, 0.25: 0, 0.3125: 0.5}),
        ("cyclical(0,1,4,0.5)", {0.99: 1, 1: 1, 1.1: 1, 2: 1}),
        ("cyclical(0,2,2.5,1)", {0.4: 0, 0.8: 0, 1: 1}),
        ("cyclical(0,2,0.1,1)", {5: 1, 10: 0, 15: 1}),  # by epoch: a cycle takes ten
        ("warmup(2,0.1)", {0: 0, 0.05: 1, 0.1: 2, 1: 2}),
    ],
)
def test_values(text, points):
    schedule = parse_schedule(text)
    for progress, value in points.items():
        assert schedule(progress) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("liner(0,1)", "Did you mean 'linear'"),
        ("linear(0", "must be a number or name"),
        ("linear(0)", r"must be written as linear\(first, last\[, start\[, end\]\]\), with numbers, but it is"),
        ("linear(a,b)", r"but it is 'linear\(a,b\)'"),
        ("linear(0,inf)", "must give finite numbers"),
        ("cyclical(0,1,0)", "cycles > 0"),
        (float("nan"), "must give finite numbers"),
    ],
)
def test_mistakes(text, says):
    with pytest.raises(AutolossError, match=says):
        parse_schedule(text)

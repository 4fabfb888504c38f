"""A name has one mark on a page, and can be told from the others on both grounds."""

import re
from importlib.resources import files

import pytest

from autoloss.report.page import Chart, choice
from autoloss.report.write import build
from tests.report.conftest import LOSSES, WEIGHTINGS


@pytest.mark.parametrize("kind", ["run", "sweep", "comparison", "search"])
def test_every_name_that_a_chart_draws_has_a_place_of_its_own(kinds_of_pages, kind):
    page = build(kinds_of_pages[kind])
    charts = [block for block in page.blocks if isinstance(block, Chart)]
    drawn = {name for chart in charts for name in chart.identities}
    assert drawn <= set(page.marks)
    assert len(set(page.marks.values())) == len(page.marks)
    assert [page.marks[name] for name in LOSSES] == [0, 1, 2]
    if kind != "run":
        assert {choice(name) for name in WEIGHTINGS} <= drawn
        # A choice has its mark wherever it is drawn: in no chart is it a name without one.
        assert not set(WEIGHTINGS) & (drawn - set(LOSSES))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(
        share * (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4)
        for share, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def grounds():
    css = (files("autoloss.report") / "assets" / "page.css").read_text(encoding="utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    return [dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", part)) for part in (light, dark.split("}")[0])]


@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
def test_marks_and_text_can_be_read_on_both_grounds(ground):
    """The least contrasts of WCAG 2.1: 3 for marks, 4.5 for text."""
    colours = grounds()[ground]
    marks = [colours[f"c{i}"] for i in range(6)]
    assert len(set(marks)) == 6
    assert min(contrast(mark, colours["card"]) for mark in marks) >= 3
    assert min(contrast(colours[name], colours["card"]) for name in ("ink", "soft", "accent")) >= 4.5
    assert min(contrast(colours["ink"], colours[name]) for name in ("agree", "neither", "oppose")) >= 4.5
    ramp = re.findall(r"--ramp: ([#0-9a-f ]+)", (files("autoloss.report") / "assets" / "page.css").read_text())[ground]
    assert min(contrast(colour, colours["card"]) for colour in ramp.split()) >= 1.5

"""What a notebook shows of a run, a search and a comparison."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from autoloss.report import Findings, read
from autoloss.report.notebook import SHOWN, as_html


class Seen(HTMLParser):
    """The texts of a piece of HTML, and the tags that are open; a tag that closes another one is an error."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def columns(**weights):
    steps = len(next(iter(weights.values())))
    return {f"{kind}/{k}": np.array(w) for kind in ("loss_weight", "loss_raw") for k, w in weights.items()} | {
        "loss/total": np.ones(steps)
    }


def test_a_record_is_one_line_and_a_table(run_directory):
    run = read(run_directory(columns=columns(a=[1.0, 0.25], b=[1.0, 1.75]), final_weights={"a": 0.25, "b": 1.75}))
    assert repr(run) == "<Run run, gradnorm, 2 steps; weights a 0.25, b 1.75; error 0.5>"
    texts = Seen(run._repr_html_()).texts
    assert [text for text in ("a", "0.25", "b", "1.75", "error", "0.5") if text not in texts] == []


def test_a_run_that_was_killed_shows_its_last_row(run_directory):
    run = read(run_directory(columns=columns(a=[1.0, 0.25]), losses=("a",), finished=False))
    assert repr(run) == "<Run run, 2 steps (not finished); weights a 0.25>"
    assert "0.25" in Seen(run._repr_html_()).texts


def test_many_losses_stay_one_short_line(run_directory):
    names = [f"loss_{i}" for i in range(400)]
    run = read(run_directory(columns=columns(**{n: [1.0, 2.0] for n in names}), losses=names))
    assert len(repr(run)) < 300
    assert "388 more" in repr(run)
    assert Seen(run._repr_html_()).tags.count("tr") == 1 + SHOWN + 2  # the losses, and the metric with its head


@pytest.mark.parametrize("name", ["<script>x</script>", "a & b", '"{0}"', "`"])
def test_no_name_is_markup(name):
    seen = Seen(as_html(name, [name], {name: [{name: name}]}))
    assert "script" not in seen.tags
    assert seen.texts.count(name) >= 4 - ("`" in name)


def test_a_comparison_is_read_with_its_verdict(tmp_path, run_directory):
    run_directory("cmp/x", columns=columns(a=[1.0, 2.0], b=[1.0, 2.0]))
    row = {"runs": 1, "words": "better", "low": 0.1, "high": 0.3, "p": 0.01, "weight_sum": 2.0, "places": ["x"]}
    row |= {"metrics": {"error": 0.5}, "weights": {"a": 1.0}, "scores": [0.2]}
    base = row | {"label": "equal", "low": None, "high": None, "p": None, "words": "the baseline", "scores": [0.0]}
    found = {"baseline": "equal", "split": "test", "goals": {"error": "min"}, "notes": ["mine is better."]}
    (tmp_path / "cmp" / "compare.json").write_text(json.dumps(found | {"rows": [row | {"label": "mine"}, base]}))
    got = read(tmp_path / "cmp")
    assert isinstance(got, Findings)
    assert got.sentences == ("mine is better.",)
    assert [(r["choice"], r["score"], r["verdict"]) for r in got.tables["Leaderboard"]] == [
        ("mine", 0.2, "better"),
        ("equal", 0.0, "the baseline"),
    ]
    assert repr(got).splitlines() == [
        "<Comparison of mine and equal on toy (choices 2, baseline equal, data test)>",
        "mine is better.",
    ]
    assert "better" in Seen(got._repr_html_()).texts


def test_a_sweep_is_read_as_its_leaderboard(tmp_path, run_directory):
    for i, weighting in enumerate(("equal", "gradnorm")):
        run_directory(
            f"sweep/{i}", columns=columns(a=[1.0], b=[1.0]), weighting=weighting, overrides=[f"weighting={weighting}"]
        )
    got = read(tmp_path / "sweep")
    assert isinstance(got, Findings)
    assert len(got.tables["Leaderboard"]) == 2

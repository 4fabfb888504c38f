"""The quality benchmarks: what is on record is not run again, and tables say what was not."""

import json
import sys
import time
from pathlib import Path

import pytest

from autoloss.core.errors import ConfigError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def quality(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import protocols
    import quality

    small = protocols.Protocol(
        "Small",
        ("problem=two_digits", "problem.pairs=200", "trainer.max_epochs=1"),
        {"equal": ("weighting=equal",), "uncertainty": ("weighting=uncertainty",), "dwa": ("weighting=dwa",), "bad": ("weighting=fixed", "weighting.weights={nobody:1}")},
        "Notes.",
        seeds=(0, 1),
        published={"equal": "0.5"},
        source="Somebody",
    )  # fmt: skip
    monkeypatch.setattr(quality, "PROTOCOLS", {"small": small})
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "RUNS", tmp_path / "quality")
    monkeypatch.setattr(quality, "CHOOSING", tmp_path / "choosing.md")
    monkeypatch.setattr(quality, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(f"Before.\n{quality.choosing.BEGIN}\nold\n{quality.choosing.END}\nAfter.\n")
    monkeypatch.setattr(quality.choosing, "PROTOCOLS", {"small": small})
    yield quality
    for name in ("protocols", "quality", "quality_table", "choosing", "rows", "sheets"):
        sys.modules.pop(name, None)


def run(quality, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["quality.py", *arguments])
    quality.main()


def pretend(_, requests):
    """The summary of each training at once, and the mistake that a real one would find."""
    return [outcome(request.config) for request in requests]


def outcome(config):
    if config["weighting"].get("weights"):
        return ConfigError("A number by loss must name a loss, but there is no loss 'nobody'.")
    level = {"equal": 1.0, "uncertainty": 0.5, "dwa": 2.0}[config["weighting"]["name"]]
    metrics = {"left_error": level * (0.2 + 0.01 * config["seed"] ** 2), "right_error": level * 0.3}
    return {
        **{"metrics": metrics, "test_metrics": metrics, "goals": dict.fromkeys(metrics, "min"), "final_weights": {}},
        **{"mean_weight_sum": 3.0, "steps": 1, "seconds": time.perf_counter(), "versions": {"torch": "2"}},
    }


def cells(page):
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("|")]
    return {row[0]: dict(zip(rows[0], row, strict=False)) for row in rows[2:]}


def test_it_goes_on_where_it_stopped_and_shows_what_is_missing(quality, monkeypatch, tmp_path):
    monkeypatch.setattr("autoloss.app.fleet_runs.FleetRuns.train", pretend)
    run(quality, monkeypatch, "small", "--rows", "equal", "uncertainty", "bad")
    page = (tmp_path / "small.md").read_text()
    table, lines = cells(page), (tmp_path / "quality/small.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert table["equal"]["verdict"] == "the baseline"
    assert table["equal"]["published"] == "0.5"
    assert table["uncertainty"]["runs"] == "2"
    assert table["uncertainty"]["verdict"] == "better"
    assert table["dwa"]["runs"] == "not run"
    assert table["bad"]["runs"].startswith("failed: A number by loss must name a loss, but there is no loss 'nobody'")
    assert "not (wholly) run or failed: dwa, bad" in page
    assert "Seeds 0, 1; torch" in page
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("Before.\n")
    assert readme.endswith("\nAfter.\n")
    assert cells(readme)["[small](benchmarks/results/small.md)"]["better / worse / tried"] == "1 / 0 / 1"
    choice = cells((tmp_path / "choosing.md").read_text().split("Mean ranks")[0])
    assert choice["uncertainty"]["[small](../benchmarks/results/small.md)"] == "**+0.500** better"
    assert choice["dwa"]["[small](../benchmarks/results/small.md)"] == "not run"
    assert choice["bad"]["[small](../benchmarks/results/small.md)"] == "failed"

    before = (tmp_path / "quality/small.jsonl").read_text()
    # A run that was stopped half way through the file is trained again, what is there is not.
    (tmp_path / "quality/small.jsonl").write_text("\n".join(lines[:3]) + "\n")
    run(quality, monkeypatch, "small", "--rows", "equal", "uncertainty", "bad")
    after = [json.loads(line) for line in (tmp_path / "quality/small.jsonl").read_text().splitlines()]
    assert [(one["row"], one["seed"]) for one in after] == [
        (json.loads(x)["row"], json.loads(x)["seed"]) for x in before.splitlines()
    ]
    assert [one.get("test") for one in after] == [json.loads(x).get("test") for x in before.splitlines()]
    assert after[0]["seconds"] == json.loads(lines[0])["seconds"]


def test_a_run_with_other_settings_does_not_count(quality, monkeypatch, tmp_path):
    run(quality, monkeypatch, "small", "--rows", "equal")
    assert set(quality.done("small", "equal")) == {0, 1}
    records = quality.runs("small")
    records[0]["settings"][1] = "problem.pairs=400"
    (tmp_path / "quality/small.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    assert set(quality.done("small", "equal")) == {1}
    run(quality, monkeypatch, "--show")
    assert cells((tmp_path / "small.md").read_text())["equal"]["runs"] == "1 of 2"


def test_what_is_committed_is_what_the_records_say(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import quality

    for name in quality.PROTOCOLS:
        text = quality.text(name)
        path = quality.RESULTS / f"{name}.md"
        assert text == (path.read_text() if path.exists() else None), "run: python benchmarks/quality.py --show"
    every = {name: quality.cells(name) for name in quality.PROTOCOLS}
    assert quality.CHOOSING.read_text() == quality.choosing.page(every), "run: python benchmarks/quality.py --show"
    readme = quality.README.read_text()
    assert readme == quality.choosing.into(readme, every), "run: python benchmarks/quality.py --show"
    assert readme.count(quality.choosing.BEGIN) == readme.count(quality.choosing.END) == 1


def test_errors_are_compared_by_their_ratio_where_a_protocol_says_so(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import protocols
    import quality_table

    def runs(*errors):
        return {i: {"goals": {"relative_l2": "min"}, "test": {"relative_l2": e}, "mean_weight_sum": 2.0, "versions": {"torch": "2"}} for i, e in enumerate(errors)}  # fmt: skip

    protocol = protocols.Protocol("Ratios", (), {}, "", (0, 1, 2), ratio=True)
    found = {"equal": runs(1.0, 4.0, 2.0), "better": runs(0.1, 0.41, 0.2), "half": {0: runs(0.1)[0]}}
    page = quality_table.page("ratios", protocol, found, None)
    assert cells(page)["equal"]["relative_l2 (test)"] == "2 (1 to 4)"
    assert float(cells(page)["better"]["error of equal weights / its error"]) == pytest.approx(10, rel=0.02)
    assert cells(page)["better"]["verdict"] == "better"
    assert cells(page)["half"]["runs"] == "1 of 3"
    assert "Best: better, an error 9.92 times smaller than that of equal weights (better); 1 of 1 better" in page


def digits(level, seeds):
    goals = {"left_error": "min", "pixels_mse": "min"}
    return {
        seed: {
            "goals": goals,
            "test": {"left_error": 0.1 + 0.001 * seed, "pixels_mse": level * (1 + 0.01 * (seed * level % 3))},
            "mean_weight_sum": 2.0,
            "versions": {"torch": "2"},
        }
        for seed in seeds
    }


def test_rows_with_fewer_seeds_are_compared_on_these_and_corrected_by_themselves(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import protocols
    import quality_table

    rows = dict.fromkeys(("equal", "gradnorm", "famo", "dwa"), ())
    protocol = protocols.Protocol("Digits", (), rows, "", tuple(range(10)), fewer=("famo", "dwa"))
    found = {"equal": digits(2.0, range(10)), "gradnorm": digits(1.0, range(10)), "famo": digits(1.0, range(3))}
    found["dwa"] = digits(3.0, range(2))
    scores, compared = quality_table.verdicts(protocol, found)
    assert len(scores["gradnorm"]) == 10
    assert len(scores["famo"]) == 3
    assert (compared["gradnorm"].seeds, compared["famo"].seeds) == (10, 3)
    assert (compared["gradnorm"].candidates, compared["famo"].candidates) == (1, 1)
    assert "dwa" not in scores
    table = cells(quality_table.page("digits", protocol, found, None))
    assert table["gradnorm"]["pixels_mse (test)"].endswith("(-50 %)")
    assert table["gradnorm"]["left_error (test)"].endswith("(+0 %)")
    assert list(table) == ["equal", "gradnorm", "famo", "dwa"] or list(table)[-2:] == ["famo", "dwa"]
    assert table["dwa"]["runs"] == "2 of 3"
    assert float(table["famo"]["would be shown"]) > float(table["gradnorm"]["would be shown"]) > 0


def test_ranks_are_over_the_problems_that_auto_was_tried_on_and_name_the_worst(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import choosing
    import protocols

    rows = dict.fromkeys(("equal", "gradnorm", "auto", "cagrad"), ())
    names = ("one", "two", "three")
    of = {name: protocols.Protocol(name, (), rows, "", (0, 1, 2)) for name in names}
    monkeypatch.setattr(choosing, "PROTOCOLS", of)
    some = {"equal": digits(2.0, range(3)), "cagrad": {}}
    every = {
        "one": {**some, "gradnorm": digits(1.0, range(3)), "auto": digits(1.5, range(3))},
        "two": {**some, "gradnorm": digits(4.0, range(3)), "auto": digits(1.5, range(3))},
        "three": {**some, "gradnorm": digits(1.0, range(3)), "auto": {}},
    }
    over, header, *lines = choosing.ranks(every)
    assert over == ["one, two"]
    assert header[0] == "weighting"
    assert {line[0]: line[1] for line in lines} == {"equal": "2.50", "gradnorm": "2.00", "auto": "1.50"}
    assert next(line[2] for line in lines if line[0] == "gradnorm").startswith("two: score -0.5")

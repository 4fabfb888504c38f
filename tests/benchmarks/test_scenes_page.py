"""The page of the benchmark of scenes, from runs that are written here."""

import json

import pytest

from tests.benchmarks.test_quality import BENCHMARKS

GOALS = {"mean_iou": "max", "depth_abs": "min"}


@pytest.fixture
def scenes(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scenes

    monkeypatch.setattr(scenes, "RUNS", tmp_path / "scenes.jsonl")
    monkeypatch.setattr(scenes, "TABLE", tmp_path / "scenes.md")
    return scenes


def write(scenes, rows):
    lines = []
    for row, values in rows.items():
        for seed, value in enumerate(values):
            test = dict.fromkeys(scenes.SHOWN, 0.5) | {"small_iou": value, "mean_iou": 0.4 + value}
            settings = [*scenes.SETTINGS, *scenes.ROWS[row]]
            run = {
                "row": row,
                "seed": seed,
                "settings": settings,
                "test": test,
                "goals": GOALS,
                "steps": 450 if "learned" in row else 500,
                "versions": {"torch": "2"},
            }
            lines.append(json.dumps(run))
    scenes.RUNS.write_text("\n".join(lines) + "\n")


def test_the_page_has_what_was_run_and_says_what_was_not(scenes):
    write(scenes, {scenes.PLAIN: [0.1, 0.11, 0.12], "dice": [0.3, 0.312, 0.32], scenes.BASE: [0.1, 0.2], "auto": [0.1]})
    scenes.main(["--show"])
    page = scenes.TABLE.read_text()
    dice = next(line for line in page.splitlines() if line.startswith("| dice"))
    assert "0.311 ± 0.01" in dice
    assert "+0.2007" in dice
    assert dice.rstrip(" |").endswith("better")
    assert "The weighting: seeds 0, 1\n" in page
    assert "| auto" not in page
    assert f"Not (wholly) run: {scenes.BASE}, focal" in page
    assert "Rows with fewer steps" not in page


def test_the_page_names_rows_that_have_fewer_steps(scenes):
    row = "focal, small x 20, gamma learned"
    write(scenes, {scenes.PLAIN: [0.1, 0.11], row: [0.3, 0.312]})
    scenes.main(["--show"])
    assert (
        f"- Rows with fewer steps, since a part of their rooms is held out: {row} (450).\n" in scenes.TABLE.read_text()
    )


def test_a_run_that_is_there_is_not_trained_again(scenes, monkeypatch):
    write(scenes, {scenes.BASE: [0.1], "dice": [0.2]})
    trained = []
    monkeypatch.setattr(scenes, "train_row", lambda row, seed: trained.append((row, seed)) or {"test": {}})
    scenes.main(["--rows", "dice", "focal", "--seeds", "0"])
    assert trained == [("focal", 0)]


def test_pairs_of_weightings_that_differ_are_listed_with_the_better_one_first(scenes):
    rows = {scenes.BASE: [0.3, 0.31, 0.32], "auto": [0.3, 0.32, 0.31], "mgda": [0.1, 0.1101, 0.1199]}
    write(scenes, rows)
    scenes.main(["--show"])
    page = scenes.TABLE.read_text()
    assert "Pairs of the 3 rows that differ, of 6 tests (score and small_iou; Holm's correction is for all" in page
    found = [line.strip("| ").split(" | ")[:4] for line in page.splitlines() if "| mgda" in line and "±" not in line]
    assert [scenes.BASE, "mgda", "small_iou", "0.200"] in found
    assert all(one[1].strip() == "mgda" for one in found)

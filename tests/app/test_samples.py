"""Weights of samples and curricula, as a person types them."""

import csv
import json

import pytest


def test_a_sweep_over_rules_ends_with_a_leaderboard_against_uniform_weights(autoloss, tmp_path):
    done = autoloss(
        "train",
        "-m",
        "problem=noisy_digits",
        "module=curriculum",
        "sample_weighting=self_paced,uniform",
        "seed=0",
        "trainer.max_epochs=2",
        "checkpoint.every=0",
    )
    assert done.returncode == 0, done.stderr
    with next(tmp_path.rglob("leaderboard.csv")).open(newline="") as file:
        board = {row["run"]: float(row["score"]) for row in csv.DictReader(file)}
    uniform = next(score for run, score in board.items() if "uniform" in run)
    assert uniform == pytest.approx(0, abs=1e-9)
    (run,) = [path.parent for path in tmp_path.rglob("summary.json") if "self_paced" in path.parent.name]
    assert json.loads((run / "summary.json").read_text())["sample_weighting"] == "self_paced"
    header = (run / "trajectory.csv").read_text().splitlines()[0]
    for column in ("sample_used/digit", "sample_weight_clean/digit", "sample_weight_corrupted/digit"):
        assert column in header


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("sample_weighting=super_los", "Did you mean 'super_loss'"),
        ("sample_weighting=super_loss sample_weighting.lambda=1", "'sample_weighting.lambda'"),
        ("sample_weighting=super_loss sample_weighting.terms=[digits]", "Did you mean 'digit'"),
        ("module=curriculum module.pacing=linear(0.2)", "A pacing needs a difficulty"),
        ("module=curiculum", "Did you mean 'curriculum'"),
        ("problem.noise=1", "`noise` must lie in [0, 1)"),
    ],
)
def test_mistakes_are_one_sentence(mistaken, typed, says):
    code, _, err = mistaken(f"train problem=noisy_digits {typed}")
    assert code == 2
    assert says in err


def test_a_search_may_vary_a_rule_s_parameters():
    from autoloss.app.composition import composed
    from autoloss.app.factories import build_problem
    from autoloss.app.overrides import rewritten
    from autoloss.app.search_space import build_space

    typed = [
        "problem=noisy_digits",
        "sample_weighting=super_loss",
        "search.space.sample_weighting.lam='interval(0.1,10)'",
    ]
    config = composed("search", rewritten(typed))
    space = build_space(config, build_problem(config))
    assert list(space.keys) == ["sample_weighting.lam"]

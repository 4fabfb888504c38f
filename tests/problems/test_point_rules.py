"""Rules for points on the problems whose points they are."""

import pytest
import torch

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.registry.lookup import registry

RULES = ("rba", "self_adaptive", "brdr", "causal")
SMALL = ["problem.points=64", "problem.hidden=[8]", "batch_size=32", "trainer.max_epochs=2"]


@pytest.mark.parametrize("name", ["allen_cahn", "wave"])
def test_points_are_kept_and_have_their_times(name):
    problem = registry.build("problem", name, points=20, hidden=[4])
    table = problem.datasets(0)["train"]
    batch = table.__getitems__([3, 17])
    outputs = problem.outputs(problem.network(), batch)
    assert outputs.index.tolist() == [3, 17]
    assert torch.equal(outputs.keys["residual.time"], table.columns["interior"][[3, 17], 1])
    assert set(outputs.keys) == {f"{term}.time" for term in problem.terms}
    assert outputs.keys["initial.time"].tolist() == [problem.low[1]] * 2


def test_an_equation_without_time_has_none():
    problem = registry.build("problem", "helmholtz", points=20, hidden=[4])
    assert not problem.outputs(problem.network(), problem.datasets(0)["train"].__getitems__([0, 1])).keys


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_for_points_trains_from_the_command_line(rule, tmp_path):
    config = composed("train", ["problem=allen_cahn", f"sample_weighting={rule}", *SMALL])
    found = train(config, tmp_path)
    assert found["metrics"]["relative_l2"] > 0
    assert "sample_weight_mean" in (tmp_path / "trajectory.csv").read_text()


def test_causal_without_a_time_is_one_sentence(autoloss):
    done = autoloss("train", "problem=helmholtz", "sample_weighting=causal", *SMALL)
    assert done.returncode == 2
    assert "No key of the data is called 'time'" in done.stderr

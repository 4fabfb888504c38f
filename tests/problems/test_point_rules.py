"""Rules for points on the problems whose points they are."""

import re

import pytest
import torch

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.registry.lookup import registry
from autoloss.core.samples import Samples

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


PHYSICS = ("allen_cahn", "wave", "helmholtz", "klein_gordon", "poisson", "navier_stokes")


@pytest.mark.parametrize("name", PHYSICS)
def test_resampled_points_are_new_in_each_batch_and_lie_where_kept_ones_do(name):
    problem = registry.build("problem", name, points="resampled:20", hidden=[4])
    table = problem.datasets(0)["train"]
    assert len(table) == 20
    batches = [table.__getitems__(rows) for rows in ([3, 17, 4], [17, 3, 4])]
    assert not torch.isclose(batches[0]["interior"], batches[1]["interior"]).any()
    low, high = torch.tensor(problem.low), torch.tensor(problem.high)
    for batch in batches:
        assert all(((at >= low) & (at <= high)).all() for at in batch.values())
        walls = batch["boundary"][:, list(problem.walls)]
        ends = torch.stack([low, high])[:, list(problem.walls)]
        assert ((walls == ends[0]) | (walls == ends[1])).any(1).all()
        if "initial" in problem.terms:
            assert (batch["initial"][:, 1] == low[1]).all()
    assert problem.outputs(problem.network(), batches[0]).index is None


def test_what_is_drawn_follows_from_the_seed_and_the_rows():
    def drawn(seed, rows):
        table = registry.build("problem", "wave", points="resampled:20", hidden=[4]).datasets(seed)["train"]
        return table.__getitems__(rows)["interior"]

    assert torch.equal(drawn(0, [1, 2]), drawn(0, [1, 2]))
    assert not torch.equal(drawn(0, [1, 2]), drawn(1, [1, 2]))


def test_kept_points_are_those_of_a_number():
    def kept(points):
        return registry.build("problem", "wave", points=points, hidden=[4]).datasets(0)["train"].columns

    assert all(torch.equal(kept(16)[name], column) for name, column in kept("kept:16").items())
    assert len(kept("kept")["interior"]) == 12800


@pytest.mark.parametrize("points", [0, "kept:0", "often", "kept:1.5", -3])
def test_points_are_a_number_kept_or_resampled(points):
    with pytest.raises(ConfigError, match=re.escape(f"kept or resampled, but points={points}")):
        registry.build("problem", "wave", points=points, hidden=[4])


@pytest.mark.parametrize("rule", ["rba", "self_adaptive", "brdr"])
def test_a_rule_by_index_needs_kept_points(rule, autoloss):
    done = autoloss("train", "problem=allen_cahn", f"sample_weighting={rule}", "problem.points=resampled")
    assert done.returncode == 2
    assert f"Sample weighting '{rule}' keeps a number for each sample, so the samples must be kept" in done.stderr
    assert "Write problem.points=kept" in done.stderr


def test_causal_takes_resampled_points(tmp_path):
    overrides = ["problem=allen_cahn", "sample_weighting=causal", "problem.points=resampled:64", *SMALL[1:]]
    assert train(composed("train", overrides), tmp_path)["metrics"]["relative_l2"] > 0


def test_a_key_has_one_value_for_each_sample():
    samples = Samples("residual", torch.ones(3), torch.ones(3).bool(), keys={"time": torch.ones(3, 2)})
    with pytest.raises(
        SignalError, match=r"one value for each sample of loss 'residual', \[3\], but 'time' is \[3, 2\]"
    ):
        samples.key("time")


@pytest.mark.parametrize("time", [[0.0, float("nan")], [0.5, 2.0], [-1.0, 0.5]])
def test_a_key_that_does_not_order_the_points_is_one_sentence(time):
    rule = registry.build("sample_weighting", "causal").bind(4)
    samples = Samples("residual", torch.ones(2), torch.ones(2).bool(), keys={"time": torch.tensor(time)})
    with pytest.raises(ConfigError, match="The key 'time' must lie between `low`, 0, and `high`, 1, but one is"):
        rule(samples)


def test_ntk_trains_an_equation_in_a_fleet(tmp_path, autoloss):
    sweep = ["problem=wave", "weighting=ntk", "weighting.every=2", "seed=0,1", *SMALL]
    done = autoloss("train", "-m", *sweep, "hydra/launcher=autoloss_fleet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trained one by one" not in done.stdout + done.stderr
    assert "relative_l2" in done.stdout

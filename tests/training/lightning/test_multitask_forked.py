"""`autoloss train` through a fork: any weighting with anchor=fork, a surgery by itself."""

import csv

import pytest
import torch
from torch import nn

from autoloss import Outputs, Problem, Term
from autoloss.app.composition import composed
from autoloss.app.config_source import register
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.problems._tensors import TensorTable


@pytest.fixture(scope="module")
def config():
    register()

    def compose(*overrides):
        short = ["trainer.max_epochs=1", "problem.pairs=200", "batch_size=50", "record.every=1", "threads=1"]
        return composed("train", [*short, *overrides], [])

    return compose


def rows_of(directory):
    with (directory / "trajectory.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "overrides",
    [
        ["weighting=graddrop"],
        ["weighting=graddrop", "weighting.leak=0.5", "trainer.accumulate_grad_batches=2"],
        ["weighting=mgda", "anchor=fork"],
        ["weighting=mgda", "anchor=parameters"],
        ["weighting=gradnorm", "anchor=fork", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.5"],
        ["weighting=famo", "anchor=fork"],
    ],
    ids=" ".join,
)
def test_it_trains_records_and_says_that_heads_are_unweighted(tmp_path, config, overrides):
    summary = train(config(*overrides), tmp_path)
    assert summary["conventions"]["heads"].startswith("not weighted")
    assert all(value == value for value in summary["metrics"].values())
    rows = rows_of(tmp_path)
    assert int(rows[-1]["step"]) == summary["steps"] - 1
    last = {name: float(rows[-1][f"loss_weight/{name}"]) for name in summary["final_weights"]}
    assert last == pytest.approx(summary["final_weights"], rel=1e-5)


def test_one_step_differs_in_the_weighted_heads_alone(tmp_path, config):
    """One step: everything ends up alike but the head of the loss whose weight is not 1."""
    one = ["weighting=fixed", "+weighting.weights.pixels=0.05", "trainer.max_steps=1", "optimizer=sgd"]
    states = {}
    for anchor in ("features", "fork"):
        train(config(*one, f"anchor={anchor}"), tmp_path / anchor)
        states[anchor] = torch.load(tmp_path / anchor / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name, value in states["features"].items():
        same = torch.allclose(states["fork"][name], value, atol=1e-7)
        assert same == ("network.pixels" not in name), name


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path, config):
    half, whole = (
        config("weighting=graddrop", "lr_schedule=constant", f"trainer.max_epochs={epochs}") for epochs in (1, 2)
    )
    train(whole, tmp_path / "whole")
    train(half, tmp_path / "half")
    train(whole, tmp_path / "half", checkpoint=tmp_path / "half/checkpoints/last.ckpt")
    one, other = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "half")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_unknown_anchor_is_a_mistake_of_the_configuration(config):
    with pytest.raises(ConfigError, match="anchor must be one of features, fork, parameters, but it is 'trunk'"):
        prepare(config("anchor=trunk"))


class Unbranched(Problem):
    """Computes its terms from the features at once."""

    terms = {"value": "mse"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        table = TensorTable(x=torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))
        return {"train": table, "val": table}

    def network(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))

    def outputs(self, network, batch):
        features = network[0](batch["x"])
        return Outputs({"value": Term(network[1](features), batch["x"].sum(1, keepdim=True))}, features)

    def measure(self, outputs):
        term = outputs.term("value")
        return {"error": (term.prediction - term.target).square().mean(1)}


class Branched(Unbranched):
    """The same, each term from its copy."""

    def outputs(self, network, batch):
        copies, anchor = self.branch(network[0](batch["x"]))
        return Outputs({"value": Term(network[1](copies["value"]), batch["x"].sum(1, keepdim=True))}, anchor)


@pytest.mark.parametrize("overrides", [["weighting=graddrop"], ["weighting=mgda", "anchor=fork"]], ids=" ".join)
def test_a_problem_that_does_not_branch_is_told_so(tmp_path, config, overrides):
    settings = config(*overrides) | {"problem": {"name": f"{__name__}:Unbranched"}}
    settings["losses"] = {"value": "mse"}
    with pytest.raises(AutolossError, match="'Unbranched' does not. Write copies, anchor = self.branch") as caught:
        train(settings, tmp_path)
    assert "\n" not in str(caught.value)
    settings["problem"] = {"name": f"{__name__}:Branched"}
    train(settings, tmp_path)


def test_a_problem_branches_as_it_is_told_and_only_then():
    problem, features = Branched(), torch.ones(2, 8, requires_grad=True)
    copies, anchor = problem.branch(features)
    assert anchor is features
    assert copies["value"] is features
    with problem.branching(lambda given: {"value": given + 1}):
        copies, anchor = problem.branch(features)
        assert anchor is copies
        assert copies["value"] is not features
    assert problem.branch(features)[1] is features

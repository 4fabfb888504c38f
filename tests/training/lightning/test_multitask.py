"""The Lightning module under ordinary Trainer flags, and interrupted."""

import csv
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn
from torch.utils.data import Dataset

from autoloss.app.train_one import train
from autoloss.core.errors import AutolossError, ConfigError, NonFiniteError
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.table import Entry
from autoloss.losses.mse import Mse
from autoloss.problems._tensors import TensorTable
from autoloss.problems.two_digits import TwoDigits
from autoloss.training.lightning.loaders import HeldOut, loader
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.weightings.auto_lambda import AutoLambda
from tests.training.lightning.resumed import checkpoint_of, equals_uninterrupted


def config(weighting="gradnorm", epochs=2, problem=None, **trainer):
    return {
        "problem": problem or {"name": "two_digits", "pairs": 256},
        "losses": {"left": "cross_entropy", "right": "cross_entropy", "pixels": "mse"} if problem is None else {},
        "weighting": {"name": weighting} if isinstance(weighting, str) else weighting,
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.003},
        "lr_schedule": {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": None},
        "trainer": {"max_epochs": epochs, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1, **trainer},
        "batch_size": 64,
        "threads": 1,
        "record": {"every": 3},
    }


class Noisy(Problem):
    """Dropout in the trunk, a term that is given ready, a mask, and labels that are NaN where masked."""

    terms = {"value": "mse", "ready": None}
    metrics = {"error": "min"}

    def datasets(self, seed):
        x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
        y = x.sum(1, keepdim=True)
        y[::3] = float("nan")
        table = TensorTable(x=x, y=y)
        return {"train": table, "val": table}

    def network(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def outputs(self, network, batch):
        features = network[:2](batch["x"])
        prediction, mask = network[2](features), ~batch["y"][:, 0].isnan()
        terms = {"value": Term(prediction, batch["y"], mask), "ready": Entry(features.square().mean(1))}
        return Outputs(terms, features, {"mask": mask})

    def measure(self, outputs):
        term = outputs.term("value")
        return {"error": (term.prediction - term.target).square().mean(1).nan_to_num()}


class Numbered(Dataset):
    """Samples that are their own numbers."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return {"i": i}


def problem(name="Noisy"):
    return {"name": f"{__name__}:{name}"}


COBA = {"name": "coba", "window": 4, "warmup": 2}


RESUMED = [(name, "share") for name in ("uncertainty", "gradnorm", "auto_lambda", "learned")]
RESUMED += [(COBA, "share"), ("auto_lambda", "train")]


@pytest.mark.parametrize(("weighting", "source"), RESUMED, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, weighting, source):
    for which in (problem(), None):
        settings = {**config(weighting, epochs=4, problem=which), "held_out": {"source": source}}
        if which:
            settings["losses"] = {"value": "mse"}
        equals_uninterrupted(settings, tmp_path / ("own" if which else "named"))


def test_accumulation_clipping_and_low_precision_train(tmp_path):
    flags = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "precision": "bf16-mixed"}
    summary = train(config(epochs=3, **flags), tmp_path)
    assert summary["steps"] == 6
    assert sum(summary["final_weights"].values()) == pytest.approx(3, rel=1e-4)
    assert all(v == v for v in summary["metrics"].values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty"])
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_a_gpu_learns_the_weights_that_the_processor_does(tmp_path, precision, weighting):
    flags = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    plain = train(config(weighting, epochs=3, **flags), tmp_path / "cpu")
    found = train(config(weighting, epochs=3, **flags, accelerator="gpu", precision=precision), tmp_path / "gpu")
    close = 1e-3 if precision == "32-true" else 0.05
    assert found["final_weights"] == pytest.approx(plain["final_weights"], rel=close)


@pytest.mark.parametrize("weighting", ["auto_lambda", "learned", COBA], ids=str)
def test_held_out_data_teaches_under_ordinary_flags(tmp_path, weighting):
    flags = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5, "precision": "bf16-mixed"}
    summary = train(config(weighting, epochs=3, **flags), tmp_path)
    assert summary["steps"] == 6
    weights = summary["final_weights"].values()
    assert sum(weights) == pytest.approx(3, rel=1e-4)
    assert max(weights) > min(weights)


def test_held_out_losses_are_measured_where_gradients_meet_in_a_fork_too(tmp_path):
    summary = train(config(COBA, epochs=3) | {"anchor": "fork"}, tmp_path)
    assert len(set(summary["final_weights"].values())) == 3


def test_held_out_digits_are_in_no_training_pair():
    problem = TwoDigits(pairs=100)
    data = problem.datasets(0)["train"]
    train, held = problem.hold_out(data, 0.1, seed=3)
    assert (len(train), len(held), len(train.source), len(held.source)) == (90, 10, 900, 100)
    assert sorted([*train.source.tolist(), *held.source.tolist()]) == sorted(data.source.tolist())
    drawn = [{tuple(row) for row in part.columns["pixels"].tolist()} for part in (train, held)]
    assert not drawn[0] & drawn[1]


def test_held_out_samples_are_in_no_training_batch():
    problem = Noisy()
    train, held = problem.hold_out(problem.datasets(0)["train"], 0.25, seed=1)
    assert (len(train), len(held)) == (72, 24)
    assert not {*train.indices} & {*held.indices}
    batches = HeldOut(held, 10, seed=0)
    seen = [batches.batch(step)["x"][:, 0].tolist() for step in range(4)]
    assert [len(batch) for batch in seen] == [10] * 4
    assert not set(seen[0]) & set(seen[1])
    assert seen[2] == HeldOut(held, 10, seed=0).batch(2)["x"][:, 0].tolist()
    assert seen[2] != HeldOut(held, 10, seed=0).batch(2, rank=1)["x"][:, 0].tolist()
    assert len(HeldOut(held, 1000, seed=0).batch(5)["x"]) == 24


@pytest.mark.parametrize("seed", [0, 1, 65_537])
def test_held_out_batches_of_the_training_data_are_other_batches(seed):
    data = Numbered(96)
    held = HeldOut(data, 16, seed, trained_on=True)
    trained = [set(batch["i"].tolist()) for batch in loader(data, 16, seed, shuffle=True)]
    turns = [[set(held.batch(step, rank)["i"].tolist()) for step in range(6)] for rank in range(2)]
    for batches in turns:
        assert set.union(*batches) == set(range(96))  # each sample once before any comes again
        assert sum(one == other for one, other in zip(batches, trained, strict=True)) == 0
    shared = [len(one & other) for one, other in zip(*turns, strict=True)]
    assert max(shared) < 16
    assert held.batch(7)["i"].tolist() == HeldOut(data, 16, seed, trained_on=True).batch(7)["i"].tolist()


def test_the_source_of_held_out_data_decides_what_is_trained_on(tmp_path):
    steps = {}
    for source in ("train", "share"):
        settings = {**config("auto_lambda", epochs=1), "held_out": {"share": 0.5, "source": source}}
        steps[source] = train({**settings, "batch_size": 32}, tmp_path / source)["steps"]
    assert steps["train"] == 2 * steps["share"]


def test_a_primary_loss_alone_gets_the_weight(tmp_path):
    settings = {
        **config({"name": "auto_lambda", "lr": 0.3}, epochs=4),
        "held_out": {"share": 0.2, "batch_size": 32, "primary": ["left"]},
    }
    weights = train(settings, tmp_path)["final_weights"]
    assert weights["left"] == max(weights.values())
    assert weights["left"] > 1.5


def test_a_strategy_that_shards_is_an_error():
    module = MultiTaskModule(
        Noisy(), {"value": Mse()}, AutoLambda(), torch.optim.SGD, held_out=HeldOut(Noisy().datasets(0)["train"], 8, 0)
    )
    module.trainer = SimpleNamespace(strategy=FSDPStrategy.__new__(FSDPStrategy))
    with pytest.raises(ConfigError, match="needs whole parameters, but FSDPStrategy shards them"):
        module.on_fit_start()
    with pytest.raises(ConfigError, match="needs held-out data, but there is none. Keep some: held_out.share"):
        MultiTaskModule(Noisy(), {"value": Mse()}, AutoLambda(), torch.optim.SGD)


def test_true_half_precision_leaves_the_weights_state_alone(tmp_path):
    train(config("uncertainty", precision="bf16-true"), tmp_path)
    state = checkpoint_of(tmp_path)["state_dict"]
    assert state["network.trunk.0.weight"].dtype == torch.bfloat16
    assert state["player.weighting.log_variance"].dtype == torch.float32


def test_the_weighting_adds_nothing_to_the_optimiser(tmp_path):
    train(config("uncertainty"), tmp_path)
    (group,) = checkpoint_of(tmp_path)["optimizer_states"][0]["param_groups"]
    assert len(group["params"]) == 10


def test_the_last_step_is_recorded_and_the_summary_agrees(tmp_path):
    summary = train(config("uncertainty", epochs=2), tmp_path)
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [0, 3, 6, 7]
    last = {name: float(rows[-1][f"loss_weight/{name}"]) for name in summary["final_weights"]}
    assert last == pytest.approx(summary["final_weights"], rel=1e-6)


def broken(method, answer):
    return type("Broken", (Noisy,), {method: answer, "__module__": __name__})


@pytest.mark.parametrize(
    ("method", "answer", "error", "says"),
    [
        ("terms", {}, AutolossError, "its terms are empty"),
        ("outputs", lambda self, network, batch: Outputs({}), AutolossError, "returned none"),
        (
            "outputs",
            lambda self, network, batch: Outputs({"value": network(batch["x"]).mean()}, anchor=torch.ones(3)),
            AutolossError,
            "must carry gradients",
        ),
        (
            "outputs",
            lambda self, network, batch: Outputs({"value": network(batch["x"]).mean()}, network[0](batch["x"])),
            AutolossError,
            "reached by at least one loss",
        ),
        (
            "outputs",
            lambda self, network, batch: Outputs({"value": network(batch["x"]).mean() / 0}, network[0].weight),
            NonFiniteError,
            "loss 'value' is .*inf at step 0|loss 'value' is nan at step 0",
        ),
        (
            "outputs",
            lambda self, network, batch: Outputs({"valu": network(batch["x"]).mean()}),
            AutolossError,
            "No loss is called 'valu'. Did you mean 'value'",
        ),
    ],
)
def test_a_broken_problem_is_named_in_one_sentence(tmp_path, monkeypatch, method, answer, error, says):
    monkeypatch.setattr(sys.modules[__name__], "Broken", broken(method, answer), raising=False)
    settings = config(problem=problem("Broken"))
    settings["losses"] = {"value": "mse"} if method != "terms" else {}
    with pytest.raises(error, match=says) as caught:
        train(settings, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "summary.json").exists()


def test_skip_leaves_bad_batches_out(tmp_path, monkeypatch):
    def sometimes(self, network, batch):
        made = Noisy.outputs(self, network, batch)
        bad = float("nan") if network.training and float(batch["x"].sum()) > 0 else 1.0
        return Outputs({**made.terms, "ready": Entry(made.terms["ready"].values * bad)}, made.anchor)

    monkeypatch.setattr(sys.modules[__name__], "Broken", broken("outputs", sometimes), raising=False)
    settings = {**config("uncertainty", problem=problem("Broken")), "losses": {"value": "mse"}, "on_nonfinite": "skip"}
    settings["batch_size"] = 8
    summary = train(settings, tmp_path)
    assert 0 < summary["skipped_batches"] < 24
    assert all(v.isfinite().all() for v in checkpoint_of(tmp_path)["state_dict"].values() if v.is_floating_point())


def test_ranks_of_one_process_need_no_environment(tmp_path):
    assert "RANK" not in os.environ
    train(config("gradnorm", epochs=1), tmp_path)

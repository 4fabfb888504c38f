"""Easy samples first: the order of the data, where difficulty comes from, and resumed runs."""

import csv

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from autoloss.app.train_one import train
from autoloss.core.errors import AutolossError
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.schedules.pacing import parse_pacing
from autoloss.problems._tensors import TensorTable
from autoloss.training.lightning.curriculum.difficulty import known_difficulty
from autoloss.training.lightning.curriculum.sampler import PacedShuffle
from autoloss.training.lightning.loaders import EpochShuffle

SIZE = 96
PASSES: list[int] = []


class Counted(TensorTable):
    """Counts the samples that are read."""

    def __getitems__(self, indices):
        PASSES.extend(indices)
        return super().__getitems__(indices)


class Lines(Problem):
    """A line with noise that grows with the index, which ``hard`` says too."""

    terms = {"value": "mse"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        generator = torch.Generator().manual_seed(0)
        x, rows = torch.randn(SIZE, 2, generator=generator), torch.arange(SIZE)
        y = x.sum(1, keepdim=True) + rows[:, None] * torch.randn(SIZE, 1, generator=generator)
        table = {"x": x, "y": y, "hard": rows.float(), "index": rows}
        return {"train": Counted(**table), "val": TensorTable(**table)}

    def network(self):
        return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1))

    def outputs(self, network, batch):
        return Outputs({"value": Term(network(batch["x"]), batch["y"])}, index=batch["index"])

    def measure(self, outputs):
        term = outputs.term("value")
        return {"error": (term.prediction - term.target).square().mean(1)}


def hardness(dataset):
    return -dataset.columns["hard"]


def config(epochs=4, pacing="linear(0.25,0.5)", difficulty="hard", warmup=1, **more):
    return {
        "problem": {"name": f"{__name__}:Lines"},
        "module": "curriculum",
        "curriculum": {"pacing": pacing, "difficulty": difficulty, "warmup": warmup},
        "sample_weighting": {"name": "self_paced", "form": "linear"},
        "losses": {},
        "weighting": {"name": "equal"},
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.003},
        "lr_schedule": {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": None},
        "trainer": {"max_epochs": epochs, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1},
        "batch_size": 16,
        "threads": 1,
        "record": {"every": 1},
        **more,
    }


def paced(pacing, size=100, difficulty=None, epochs=1.0, seed=3):
    order = PacedShuffle(size, seed, parse_pacing(pacing))
    order.learn(torch.arange(float(size)) if difficulty is None else difficulty)
    order.epochs = epochs
    return order


def test_only_the_easiest_share_is_seen_and_ever_more_of_it():
    difficulty = torch.rand(100, generator=torch.Generator().manual_seed(0))
    order = paced("linear(0.2,0.8)", difficulty=difficulty, epochs=10)
    ranks = difficulty.argsort().argsort()
    for epoch in range(10):
        order.set_epoch(epoch)
        seen = list(order)
        assert len(seen) == 100
        allowed = min(1.0, 0.2 + 0.8 * (epoch + 1) / 8)
        assert int(ranks[seen].max()) < 100 * allowed + 1
        places = {int(ranks[row]) for row in seen}
        assert len(places) >= min(100, 100 * min(1.0, 0.2 + 0.8 * epoch / 8)) - 1


def test_the_share_rises_within_an_epoch_and_is_known_at_every_place():
    order = paced("linear(0.1)")
    seen = list(order)
    assert order.used(0) == pytest.approx(0.1)
    for place in range(100):
        assert seen[place] < order.used(place) * 100
        assert order.used(place) <= 0.1 + 0.9 * place / 100 + 0.01
    assert order.used(99) > 0.6


def test_with_all_data_in_use_it_is_the_plain_shuffle():
    plain = EpochShuffle(100, 3)
    for order in (paced(1.0), PacedShuffle(100, 3, parse_pacing(0.1)), PacedShuffle(100, 3)):
        for epoch in (0, 5):
            plain.set_epoch(epoch)
            order.set_epoch(epoch)
            assert list(order) == list(plain)


def test_a_share_of_nothing_is_one_sample():
    assert set(paced("step(0,0.5,0.9)", size=10)) <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("size", [100, 101])
def test_ranks_share_the_order_out(monkeypatch, size):
    whole = list(paced("linear(0.3)", size=size))
    parts = []
    for rank in range(2):
        monkeypatch.setattr("autoloss.core.sample_order.world_size", lambda: 2)
        monkeypatch.setattr("autoloss.core.sample_order.rank", lambda rank=rank: rank)
        order = paced("linear(0.3)", size=size)
        parts.append(list(order))
        assert len(order) == len(parts[-1]) == (size + 1) // 2
    merged = [row for pair in zip(*parts, strict=True) for row in pair]
    assert merged[:size] == whole


def test_difficulty_by_key_function_and_import_path():
    table = Lines().datasets(0)["train"]
    assert torch.equal(known_difficulty("hard", table), torch.arange(float(SIZE)))
    assert torch.equal(known_difficulty(hardness, table), -torch.arange(float(SIZE)))
    assert torch.equal(known_difficulty(f"{__name__}:hardness", table), -torch.arange(float(SIZE)))
    rows = [{"hard": i} for i in range(3)]
    assert known_difficulty("hard", rows).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hrad", "Did you mean 'hard'"),
        ("nowhere:f", "ModuleNotFoundError"),
        (lambda data: [1.0], r"must be \[96\]"),
        (lambda data: [float("nan")] * SIZE, "must be finite"),
        (lambda data: ["a"] * SIZE, "must be one number for each sample"),
    ],
)
def test_a_difficulty_that_cannot_be_used(given, said):
    with pytest.raises(AutolossError, match=said):
        known_difficulty(given, Lines().datasets(0)["train"])


def rows_of(directory):
    with (directory / "trajectory.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_curriculum_trains_records_the_share_and_reads_no_sample_more_than_an_epoch_has(tmp_path):
    PASSES.clear()
    summary = train(config(), tmp_path)
    assert len(PASSES) == 4 * SIZE
    shares = [float(row["data_used"]) for row in rows_of(tmp_path)]
    assert shares[0] == pytest.approx(0.25)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert max(PASSES[:16]) < SIZE / 4
    assert summary["steps"] == 4 * SIZE / 16


def test_difficulty_by_loss_costs_one_pass_after_the_warm_up(tmp_path):
    PASSES.clear()
    train(config(difficulty="loss", warmup=2, epochs=6, pacing="linear(0.25)"), tmp_path)
    assert len(PASSES) == 6 * SIZE + SIZE
    # The pass comes after two epochs on all data, and goes through them in order.
    assert sorted(PASSES[:SIZE]) == list(range(SIZE))
    assert PASSES[2 * SIZE : 3 * SIZE] == list(range(SIZE))
    saved = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]["difficulty"]
    assert saved.shape == (SIZE,)
    assert len({*PASSES[3 * SIZE : 4 * SIZE]}) < SIZE
    easy = set(saved.argsort()[: round(SIZE * 0.57)].tolist())
    assert set(PASSES[3 * SIZE : 4 * SIZE]) <= easy


@pytest.mark.parametrize("difficulty", ["hard", "loss"])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, difficulty):
    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 3:
                raise OSError("power cut")

    settings = config(epochs=6, difficulty=difficulty, pacing="root(0.2)")
    train(settings, tmp_path / "whole")
    with pytest.raises(OSError, match="power cut"):
        train(settings, tmp_path / "cut", callbacks=[Stop()])
    PASSES.clear()
    train(settings, tmp_path / "cut", checkpoint=tmp_path / "cut/checkpoints/last.ckpt")
    assert len(PASSES) == 3 * SIZE
    whole, cut = (torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "cut"))
    for name, value in whole["state_dict"].items():
        assert not isinstance(value, torch.Tensor) or torch.equal(value, cut["state_dict"][name]), name
    assert (tmp_path / "whole/trajectory.csv").read_text() == (tmp_path / "cut/trajectory.csv").read_text()


def test_without_a_pacing_it_is_the_multi_task_module(tmp_path):
    plain = config(pacing=None, difficulty=None)
    train(plain, tmp_path / "curriculum")
    train({**plain, "module": "multitask"}, tmp_path / "multitask")
    texts = [(tmp_path / name / "trajectory.csv").read_text() for name in ("curriculum", "multitask")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("curriculum", "said"),
    [
        ({"pacing": "linear(0.2)"}, "needs a difficulty"),
        ({"difficulty": "hard"}, "needs a pacing"),
        ({"pacing": "liner(0.2)", "difficulty": "hard"}, "'linear'"),
        ({"warmup": -1}, "at least 0"),
    ],
)
def test_mistakes_are_found_before_anything_trains(curriculum, said):
    from autoloss.app.prepare import prepare

    settings = config(ckpt=None)
    settings["curriculum"] = {"pacing": None, "difficulty": None, "warmup": 1} | curriculum
    with pytest.raises(AutolossError, match=said):
        prepare(settings)


def test_weights_follow_plateaus_of_validation_also_after_a_resume(tmp_path):
    class Stop(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 4:
                raise OSError("power cut")

    weighting = {"name": "scheduled", "schedules": {"value": "linear(1,0,0,10)"}, "by": "plateau"}
    still = {"_target_": "torch.optim.SGD", "lr": 0.0}
    settings = config(
        epochs=8, pacing=None, difficulty=None, weighting=weighting, optimizer=still, plateau={"patience": 2}
    )
    train(settings, tmp_path / "whole")
    by_epoch = {row["epoch"]: float(row["loss_weight/value"]) for row in rows_of(tmp_path / "whole")}
    # The first validation is the best; then every second one ends a plateau.
    assert list(by_epoch.values()) == pytest.approx([1, 1, 1, 0.9, 0.9, 0.8, 0.8, 0.7])
    with pytest.raises(OSError, match="power cut"):
        train(settings, tmp_path / "cut", callbacks=[Stop()])
    train(settings, tmp_path / "cut", checkpoint=tmp_path / "cut/checkpoints/last.ckpt")
    assert (tmp_path / "whole/trajectory.csv").read_text() == (tmp_path / "cut/trajectory.csv").read_text()

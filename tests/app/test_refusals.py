"""What cannot work is refused before anything is trained: one sentence, exit code 2, and nothing left behind."""

import pytest

from autoloss.core.errors import ConfigError

PROBLEM = """
import os
import torch
from autoloss import Outputs, Problem, Term
from torch import nn
from torch.utils.data import TensorDataset


class NoTest(Problem):
    terms = {"sum": "mse", "sign": "mse"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        data = TensorDataset(x, x.sum(1, keepdim=True))
        return {"train": data, "val": data}

    def network(self):
        return nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)])

    def outputs(self, network, batch):
        x, y = batch
        z = network[0](x)
        return Outputs({"sum": Term(network[1](z), y), "sign": Term(network[2](z), y.sign())}, anchor=z)

    def measure(self, outputs):
        term = outputs.term("sum")
        error = (term.prediction - term.target).abs().mean(1)
        return {"error": error * (float("nan") if self.broken() else 1)}

    def broken(self):
        return False


class OtherMetric(NoTest):
    metrics = {"distance": "min"}

    def measure(self, outputs):
        return {"distance": super().measure(outputs)["error"]}


class Broken(NoTest):
    def broken(self):
        return os.environ.get("BROKEN", "1") == "1"
"""
VERBS = {
    "train": ("train",),
    "sweep": ("train", "-m", "seed=0,1"),
    "sweeper": ("train", "-m", "hydra/sweeper=autoloss", "weighting=equal,dwa", "hydra.sweeper.n_trials=2"),
    "search": ("search", "search.n_trials=2"),
    "compare": ("compare", "weighting=equal,dwa", "compare.seeds=1"),
    "diagnose": ("diagnose", "diagnose.runs=1"),
    "meta": ("meta", "problems=[mine:NoTest]", "meta.rounds=1"),
}
MISTAKES = {
    "bad override": ("optimizer.lr=[0.1",),
    "unknown key": ("optimizer.lrr=0.1",),
    "unknown flag": ("trainer.max_epoch=1",),
    "epochs": ("trainer.max_epochs=-3",),
    "precision": ("trainer.precision=8",),
    "accelerator": ("trainer.accelerator=quantum",),
    "devices": ("trainer.devices=99",),
    "strategy": ("trainer.strategy=nothing",),
    "accumulation": ("trainer.accumulate_grad_batches=0",),
    "no validation": ("trainer.limit_val_batches=0",),
    "no test split": ("test=true",),
    "name": ("name=" + "n" * 300,),
}


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(PROBLEM)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_it_before_anything_is_trained(autoloss, mine, verb, mistake):
    problem = () if verb == "meta" else ("problem=mine:NoTest",)
    done = autoloss(*VERBS[verb], *problem, "trainer.max_epochs=1", *MISTAKES[mistake])
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("autoloss: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert [path.name for path in mine.iterdir() if path.name != "__pycache__"] == ["mine.py"]


@pytest.mark.parametrize(
    "line",
    [
        "report nowhere",
        "replay nowhere",
        "distill nowhere",
        "distill",
        "replay nowhere weighting",
        "train checkpoint.every_steps=2 problem=digits_gan",
        "train ckpt=last",
        "compare weighting=equal,[ problem=mine:NoTest",
        "compare problem=mine:NoTest,mine:OtherMetric compare.seeds=1",
        "meta problems=[mine:NoTest] unseen=two_digits meta.seeds=0",
    ],
)
def test_other_mistakes(mistaken, mine, line):
    code, out, err = mistaken(line)
    assert code == 2, out + err
    assert err.startswith("autoloss: ")
    assert "Traceback" not in err
    assert [path.name for path in mine.iterdir() if path.name != "__pycache__"] == ["mine.py"]


def test_without_a_test_split_a_search_is_confirmed_on_validation_data_and_says_so(autoloss, mine):
    search = ("search", "problem=mine:NoTest", "search.n_trials=2", "search.confirm=1", "search.confirm_seeds=2")
    done = autoloss(*search, "trainer.max_epochs=1", "search.weightings=[dwa]", "name=s")
    assert done.returncode == 0, done.stdout + done.stderr
    place = mine / "outputs/search/s"
    for text in (done.stdout, (place / "leaderboard.md").read_text()):
        assert "on validation data, on which the candidates were chosen: the problem has no test split" in text
        assert "on test data" not in text
    assert '"split": "validation"' in (place / "search.json").read_text()
    assert '"on test data' not in (place / "search.json").read_text()
    from autoloss.report.write import build

    page = repr(build(place))
    assert "chosen and compared on the same validation data" in page
    assert "On validation data." in page
    assert "test data" not in page


def test_without_a_test_split_choices_and_rules_are_compared_on_validation_data(autoloss, mine):
    done = autoloss(
        *VERBS["compare"], "problem=mine:NoTest", "trainer.max_epochs=1", "compare.seeds=2", "hydra.sweep.dir=c"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on validation data, paired by seed" in done.stdout
    assert (mine / "c/compare.json").exists()
    done = autoloss(*VERBS["meta"], "unseen=mine:OtherMetric", "meta.seeds=1", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on validation data" in done.stdout


def test_a_launcher_may_have_other_devices_than_this_machine():
    from autoloss.app.composition import composed
    from autoloss.app.prepare import prepare

    elsewhere = composed("train", ["trainer.accelerator=gpu", "trainer.devices=99", "+trainer.num_nodes=4"])
    prepare(elsewhere, here=False)
    with pytest.raises(ConfigError, match=r"trainer\."):
        prepare(elsewhere)


def test_the_variables_of_slurm_refuse_no_trainer(monkeypatch):
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from autoloss.app.trainer_flags import check_trainer

    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    rank = getattr(rank_zero_only, "rank", 0)
    for devices in (1, 2):
        check_trainer({"devices": devices, "accelerator": "cpu"})
    assert rank_zero_only.rank == rank


BROKEN = "Every metric must be finite at the end of a training, but on validation data error is nan."


def test_a_metric_that_is_not_finite_is_a_failed_run(autoloss, mine):
    short = ("problem=mine:Broken", "trainer.max_epochs=1")
    done = autoloss("train", *short, "hydra.run.dir=run")
    assert done.returncode == 1
    assert done.stderr.startswith(f"autoloss: {BROKEN}")
    assert BROKEN in (mine / "run/failed.json").read_text()
    assert not (mine / "run/summary.json").exists()
    done = autoloss("train", "-m", "seed=0,1", *short, "hydra.sweep.dir=sweep")
    assert done.returncode == 1
    assert done.stdout.count(BROKEN) == 2
    done = autoloss("compare", "weighting=equal,dwa", "compare.seeds=1", *short)
    assert done.returncode == 1
    assert BROKEN in done.stderr
    done = autoloss("search", "search.n_trials=2", *short)
    assert done.returncode != 0
    assert BROKEN in done.stderr
    done = autoloss("diagnose", "diagnose.runs=1", *short)
    assert done.returncode == 1
    assert BROKEN in done.stderr

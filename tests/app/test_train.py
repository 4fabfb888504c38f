"""`autoloss train` as a person types it."""

import csv
import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss.core.errors import UnknownNameError

SMALL = ("trainer.max_epochs=1", "problem.pairs=200")


def summaries(root):
    return sorted(root.rglob("summary.json"))


def test_a_sweep_leaves_runs_a_leaderboard_and_skips_what_is_finished(autoloss, tmp_path):
    command = ("train", "-m", "weighting=equal,uncertainty,gradnorm", "seed=0,1", *SMALL)
    first = autoloss(*command)
    assert first.returncode == 0, first.stderr
    found = summaries(tmp_path)
    assert len(found) == 6
    for path in found:
        assert (path.parent / "trajectory.csv").exists()
        events = EventAccumulator(str(path.parent), size_guidance={"scalars": 0}).Reload()
        assert {"1_loss_weight/left", "loss_raw/pixels", "val/left_error"} <= set(events.Tags()["scalars"])
        with (path.parent / "trajectory.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        steps = json.loads(path.read_text())["steps"]
        assert int(rows[-1]["step"]) == steps - 1
        assert "=" not in str(path.relative_to(tmp_path))
    root = found[0].parents[1]
    with (root / "leaderboard.csv").open(newline="") as file:
        board = {row["run"]: row for row in csv.DictReader(file)}
    assert set(board) == {"equal", "uncertainty", "gradnorm"}
    assert float(board["equal"]["score"]) == pytest.approx(0, abs=1e-9)
    errors = [json.loads(p.read_text())["metrics"]["left_error"] for p in found if "gradnorm" in p.parent.name]
    assert float(board["gradnorm"]["left_error"]) == pytest.approx(sum(errors) / 2)
    assert f"tensorboard --logdir {root.relative_to(tmp_path)}" in first.stdout
    assert first.stderr == ""

    (found[0].parent / "summary.json").unlink()
    second = autoloss(*command)
    assert second.returncode == 0
    assert second.stdout.count("skipped") == 5


def test_a_failed_run_is_listed_with_its_error_and_the_exit_code_is_1(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Sometimes(TwoDigits):\n"
        "    recipe = {'trainer': {'max_epochs': 1}}\n"
        "    def datasets(self, seed):\n"
        "        if seed == 1: raise OSError('disk on fire')\n"
        "        return super().datasets(seed)\n"
    )
    done = autoloss("train", "-m", "problem=mine:Sometimes", "problem.pairs=200", "seed=0,1,2")
    assert done.returncode == 1
    assert "failed: seed_1: OSError: disk on fire" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(summaries(tmp_path)) == 2
    board = next(tmp_path.rglob("leaderboard.md")).read_text()
    assert "| 2 |" in board
    assert "disk on fire" in board


def test_single_runs_are_numbered_and_ckpt_last_goes_on_with_the_newest(autoloss, tmp_path):
    for _ in range(2):
        done = autoloss("train", "weighting=gradnorm", "weighting.alpha=1", *SMALL)
        assert done.returncode == 0, done.stderr
    parent = summaries(tmp_path)[0].parents[1]
    assert sorted(p.name for p in parent.iterdir()) == ["001", "002"]
    again = autoloss(
        "train", "weighting=gradnorm", "weighting.alpha=1", "problem.pairs=200", "trainer.max_epochs=3", "ckpt=last"
    )
    assert again.returncode == 0, again.stderr
    assert "goes on from" in again.stdout
    summary = json.loads((parent / "002/summary.json").read_text())
    assert (summary["steps"], summary["config"]["weighting"]["alpha"]) == (6, 1)
    assert json.loads((parent / "001/summary.json").read_text())["steps"] == 2
    assert torch.load(parent / "002/checkpoints/last.ckpt", weights_only=True)["global_step"] == 6


def test_hydra_directories_do_what_a_hydra_user_expects(autoloss, tmp_path):
    assert autoloss("train", *SMALL, "hydra.run.dir=mine").returncode == 0
    assert (tmp_path / "mine/summary.json").exists()
    assert (tmp_path / "mine/.hydra/config.yaml").exists()
    done = autoloss("train", "-m", "seed=3,4", *SMALL, "hydra.sweep.dir=swept", "hydra.sweep.subdir=${hydra.job.num}")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "swept").iterdir() if p.is_dir()) == ["0", "1", "leaderboard"]
    shown = autoloss("train", "--cfg", "job", "weighting=gradnorm")
    assert "alpha: 1.5" in shown.stdout
    assert not (tmp_path / "outputs").exists()


def test_a_problem_in_a_file_of_the_users_trains_by_import_path(autoloss, tmp_path):
    (tmp_path / "my_module.py").write_text(
        "import torch\nfrom autoloss import Outputs, Problem, Term\nfrom torch import nn\n"
        "from torch.utils.data import TensorDataset\n"
        "def half(prediction, target):\n    return (prediction - target).square().mean(1) / 2\n"
        "class MyProblem(Problem):\n"
        "    terms = {'sum': 'mse', 'sign': 'my_module:half'}\n"
        "    metrics = {'error': 'min'}\n"
        "    def datasets(self, seed):\n"
        "        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))\n"
        "        data = TensorDataset(x, x.sum(1, keepdim=True))\n"
        "        return {'train': data, 'val': data, 'test': data}\n"
        "    def network(self):\n        return nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)])\n"
        "    def outputs(self, network, batch):\n"
        "        x, y = batch\n        z = network[0](x)\n"
        "        return Outputs({'sum': Term(network[1](z), y), 'sign': Term(network[2](z), y.sign())}, anchor=z)\n"
        "    def measure(self, outputs):\n"
        "        term = outputs.term('sum')\n        return {'error': (term.prediction - term.target).abs().mean(1)}\n"
    )
    done = autoloss(
        "train",
        "problem=my_module:MyProblem",
        "weighting=gradnorm",
        "losses.sum=huber",
        "test=true",
        "trainer.max_epochs=2",
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(summaries(tmp_path)[0].read_text())
    assert summary["config"]["losses"]["sum"] == {"name": "huber", "delta": 1.0}
    assert set(summary["test_metrics"]) == {"error"}


def test_losses_combine_and_follow_schedules_by_configuration_alone(autoloss, tmp_path):
    done = autoloss(
        "train",
        "-m",
        "losses.left=focal,[cross_entropy,{focal:{gamma:linear(0,2)}}]",
        "losses.right=[cross_entropy,focal]",
        "losses.right.rule=product",
        "losses.pixels=[mse,mae]",
        "losses.pixels.weights=[1,rampup(0.5)]",
        "penalties.orthogonality=0.01",
        "penalties.small.name=sparsity",
        "penalties.small.factor=linear(0,1e-4)",
        "penalties.small.on=[trunk]",
        "base.small=2",
        *SMALL,
    )
    assert done.returncode == 0, done.stderr
    losses = [json.loads(path.read_text())["config"]["losses"] for path in summaries(tmp_path)]
    parts = sorted((one["left"]["losses"] for one in losses), key=len)
    assert parts == [["focal"], ["cross_entropy", {"focal": {"gamma": "linear(0,2)"}}]]
    assert [one["right"]["rule"] for one in losses] == ["product"] * 2
    assert [one["pixels"]["weights"] for one in losses] == [[1, "rampup(0.5)"]] * 2
    weights = [json.loads(path.read_text())["final_weights"] for path in summaries(tmp_path)]
    assert [(one["orthogonality"], one["small"]) for one in weights] == [(1.0, 2.0)] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("weighting=gradnrom", "No weighting is called 'gradnrom'. Did you mean 'gradnorm'?"),
        ("weighting=gradnorm weighting.alpah=1", "No key is called 'weighting.alpah'. Did you mean 'weighting.alpha'?"),
        ("trainer.max_epoch=1", "No key is called 'trainer.max_epoch'. Did you mean 'trainer.max_epochs'?"),
        ("losses.lft=focal", "No key is called 'losses.lft'. Did you mean 'losses.left'?"),
        ("losses.left=focl", "No loss is called 'focl'. Did you mean 'focal'?"),
        ("losses.left=[cross_entropy,focl]", "No loss is called 'focl'. Did you mean 'focal'?"),
        ("losses.left=[cross_entropy,focal] losses.left.rule=sum", "No rule of combined losses is called 'sum'."),
        ("losses.left=focal losses.left.gamma=linear(0,-2)", "`gamma` must be at least 0, but gamma=-2"),
        ("penalties.sparsty=1", "No penalty is called 'sparsty'. Did you mean 'sparsity'?"),
        ("penalties.sparsity=-1", "penalties.sparsity.factor must be at least 0, but it is -1."),
        (
            "problem=digits_gan penalties.sparsity=1",
            "The networks of a GAN must have no penalties, but there is sparsity.",
        ),
        ("base.kl=1", "No loss is called 'kl'. There are: left, pixels, right."),
        ("weighting=fixed weighting.weights.lft=1", "there is no loss 'lft'. The losses are: left, right, pixels."),
        ("weighting=fixed weighting.weights.left=-1", "must be finite and not negative, but weights.left=-1."),
        (
            "weighting=fixed weighting.weights.left=nan",
            "A weight must be finite and not negative, but weights.left=nan.",
        ),
        ("weighting=gradnorm weighting.wrap=[emma]", "No wrapper is called 'emma'. Did you mean 'ema'?"),
        ("on_nonfinite=ignore", "on_nonfinite must be one of raise, skip, but it is 'ignore'."),
        ("batch_size=0", "batch_size must be at least 1, but it is 0."),
        ("ckpt=last", "ckpt=last needs an earlier run"),
        ("ckpt=nowhere.ckpt", "ckpt must be a checkpoint's path or last, but there is no file 'nowhere.ckpt'."),
        ("seed", "An override must be written key=value, but it is 'seed'. Write seed=VALUE."),
        ("problem=nowhere:Mine", "No module named 'nowhere'"),
        (
            "optimizer._target_=os.system",
            "os.system must be a subclass of Optimizer, but it is <built-in function system>",
        ),
        ("optimizer._target_=torch.os.system", "torch.os.system must be importable"),
        ("optimizer.lr=-1", "torch.optim.Adam must take its parameters, but it does not: ValueError"),
        ("+optimizer.lrr=1", "No parameter of torch.optim.Adam is called 'lrr'. Did you mean 'lr'?"),
        ("+optimizer.betas={_target_:os.system,command:ls}", "must be plain values, but _target_ is among them"),
        ("+lr_schedule.x=[{_args_:1}]", "must be plain values, but _args_ is among them"),
        ("name=../../x", "name must be a directory's name, of letters, digits, blanks and ._+-, but it is '../../x'."),
        ("name=/tmp/x", "name must be a directory's name"),
        ("name=..", "name must be a directory's name"),
        ("-m weighting=equal,gradnrom", "No weighting is called 'gradnrom'"),
        ("weighting=equal,gradnorm", "but 'weighting=equal,gradnorm' has several. Add -m for a sweep."),
        ("losses.left=focal losses.left.gamma=linaer(0,2)", "No function is called 'linaer'. Did you mean 'linear'?"),
        ("trainer.max_epochs=five", "trainer.max_epochs must be a whole number or null, but it is 'five'."),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches must be above 0, but it is 0."),
        ("experiment=nothing", "No experiment is called 'nothing'."),
        (
            "problem=digits_gan losses.adv=mse",
            "Both players have the loss 'adv', so it must be adversarial, but 'mse' is not.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(mistaken, tmp_path, arguments, says):
    code, out, err = mistaken(f"train {arguments}")
    assert code == 2
    assert says in err
    assert err.startswith("autoloss: ")
    assert err.count("\n") == 1, err
    assert out == ""
    assert not (tmp_path / "outputs").exists()


def test_what_lightning_says_of_this_machine_is_a_sentence(mistaken):
    code, _, err = mistaken("train trainer.precision=17")
    assert code == 2
    assert "The keys trainer.* must suit Lightning's Trainer, but it says: Precision 17 is invalid" in err
    assert "Traceback" not in err


def test_two_runs_of_one_process_have_directories_of_their_own(mistaken, tmp_path):
    for name in ("first", "second"):
        assert mistaken(f"train name={name} trainer.max_epochs=1 problem.pairs=100 threads=1")[0] == 0
    assert len(list(tmp_path.glob("outputs/train/*/001/summary.json"))) == 2


def test_everything_wrong_is_said_at_once(mistaken):
    _, _, err = mistaken("train batch_size=0 base.kl=1 weighting=fixed weighting.weights.z=1")
    assert [word in err for word in ("batch_size", "'kl'", "'z'")] == [True] * 3


def test_a_misspelt_verb(mistaken):
    code, _, err = mistaken("trian")
    assert (code, err) == (2, "autoloss: No verb is called 'trian'. Did you mean 'train'?\n")


def test_the_full_error_is_there_for_who_asks(mistaken):
    with pytest.raises(UnknownNameError):
        mistaken("train weighting=gradnrom", HYDRA_FULL_ERROR="1")


def test_a_loss_that_is_nan_exits_with_2_and_leaves_no_summary(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "from autoloss import Outputs\n"
        "class Bad(TwoDigits):\n"
        "    def outputs(self, network, batch):\n"
        "        made = super().outputs(network, batch)\n"
        "        return Outputs({**made.terms, 'left': made.anchor.sum() * float('nan')}, made.anchor)\n"
    )
    done = autoloss("train", "problem=mine:Bad", "problem.pairs=200")
    assert done.returncode == 2
    assert "loss 'left' is nan at step 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert not summaries(tmp_path)
    assert json.loads(next(tmp_path.rglob("failed.json")).read_text())["error"].startswith("Every loss must be finite")

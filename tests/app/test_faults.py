"""Whatever ends a training: it can go on, and nothing half done is taken for a result."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autoloss.app.main import main
from autoloss.core.io.lock import lock
from autoloss.problems.two_digits import TwoDigits
from autoloss.report.runs import read_run
from tests.command import as_new_process

SMALL = ("problem.pairs=400", "trainer.max_epochs=3", "weighting=gradnorm")


class Faulty(TwoDigits):
    """Calls ``fault`` at the sixth training step, once."""

    fault = None
    seen = 0

    def outputs(self, network, batch):
        if network.training:
            Faulty.seen += 1
            if Faulty.seen == 6:
                Faulty.fault()
        return super().outputs(network, batch)


class DyingLoader(TwoDigits):
    """A sample that a process which loads data cannot read."""

    def datasets(self, seed):
        data = super().datasets(seed)
        return {**data, "train": Unreadable(data["train"])} if os.environ.get("UNREADABLE") else data


class Unreadable(torch.utils.data.Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        if i == 7:
            if os.environ["UNREADABLE"] == "killed":
                os.kill(os.getpid(), 9)
            raise OSError("disk on fire")
        return self.data[i]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Runs the command in this process, in a directory of its own; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    Faulty.seen, Faulty.fault = 0, staticmethod(lambda: None)
    monkeypatch.setitem(sys.modules, "faulty_problems", sys.modules[__name__])

    def run(*arguments):
        with as_new_process(tmp_path, {}):
            return main(["train", *arguments])

    return run


def parameters(directory):
    state = torch.load(Path(directory) / "checkpoints/last.ckpt", weights_only=True)
    return state["global_step"], state["state_dict"]


def same(one, other):
    (steps, mine), (others, theirs) = parameters(one), parameters(other)
    return steps == others and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_second_signal_is_not_needed(here, capfd):
    whole = ("problem=faulty_problems:Faulty", *SMALL)
    assert here("hydra.run.dir=whole", *whole) == 0
    Faulty.seen, Faulty.fault = 0, staticmethod(lambda: os.kill(os.getpid(), 2))
    assert here("hydra.run.dir=cut", *whole) == 130
    said = capfd.readouterr()
    assert "press Ctrl-C again" in said.err
    assert "weights_only" not in said.err  # Lightning's, of a checkpoint
    assert "interrupted, see cut" in said.out
    assert "stopped by SIGINT; the same command with ckpt=last goes on from here." in said.out
    summary = json.loads(Path("cut/summary.json").read_text())
    assert (summary["state"], summary["steps"]) == ("interrupted", 6)
    assert set(summary["metrics"]) == {"left_error", "right_error", "pixels_mse"}
    assert not read_run(Path("cut")).finished
    assert here("hydra.run.dir=cut", "ckpt=last", *whole) == 0
    assert json.loads(Path("cut/summary.json").read_text())["state"] == "finished"
    assert same("whole", "cut")
    assert Path("whole/trajectory.csv").read_text() == Path("cut/trajectory.csv").read_text()


def test_a_run_without_a_checkpoint_does_not_say_that_it_goes_on(here, capfd):
    Faulty.seen, Faulty.fault = 0, staticmethod(lambda: os.kill(os.getpid(), 2))
    assert here("hydra.run.dir=cut", "problem=faulty_problems:Faulty", *SMALL, "checkpoint.every=0") == 130
    assert "stopped by SIGINT; the same command starts it anew." in capfd.readouterr().out


def test_an_interrupted_sweep_shows_what_it_has_and_goes_on(here, capfd):
    sweep = ("-m", "problem=faulty_problems:Faulty", "seed=0,1", "hydra.sweep.dir=swept", *SMALL[:2])
    Faulty.seen, Faulty.fault = -12, staticmethod(lambda: os.kill(os.getpid(), 15))
    assert here(*sweep) == 0
    said = capfd.readouterr().out
    assert "not finished: seed_1" in said
    assert "stopped by SIGTERM" in said
    assert here(*sweep) == 0
    said = capfd.readouterr().out
    assert "finished before, skipped" in said
    assert "goes on from" in said
    assert len(Path("swept/leaderboard.csv").read_text().splitlines()) == 2


def test_a_second_ctrl_c_ends_it_at_once(here, capfd):
    Faulty.fault = staticmethod(lambda: [os.kill(os.getpid(), 2) for _ in range(2)])
    assert here("hydra.run.dir=cut", "problem=faulty_problems:Faulty", *SMALL) == 130
    summary = json.loads(Path("cut/summary.json").read_text())
    assert (summary["state"], summary["steps"]) == ("interrupted", 5)
    assert parameters("cut")[0] == 4
    assert "Traceback" not in capfd.readouterr().err


def test_a_loss_that_turns_nan_leaves_the_last_good_checkpoint(here, capfd):
    problem = ("problem=faulty_problems:Faulty", *SMALL, "hydra.run.dir=cut")

    def fault():
        for parameter in Faulty.network_:
            parameter.data.fill_(float("nan"))

    Faulty.fault = staticmethod(fault)
    before = TwoDigits.network
    try:
        TwoDigits.network = lambda self: _kept(before(self))
        assert here(*problem, "checkpoint.every_steps=3") == 2
    finally:
        TwoDigits.network = before
    assert "is nan at step 5" in capfd.readouterr().err
    assert json.loads(Path("cut/failed.json").read_text())["error"].startswith("Every loss must be finite")
    assert not Path("cut/summary.json").exists()
    steps, state = parameters("cut")
    assert steps == 4
    assert all(x.isfinite().all() for key, x in state.items() if key.startswith("network"))
    assert here(*problem, "ckpt=last") == 0
    assert not Path("cut/failed.json").exists()


def _kept(network):
    Faulty.network_ = list(network.parameters())
    return network


# torch tells of a killed process from a handler of its own too, wherever that strikes.
@pytest.mark.parametrize(
    ("how", "says"),
    [("raises", "OSError: disk on fire"), ("killed", "but one ended with exit code -9|is killed by signal")],
)
def test_a_process_that_loads_data_dies(here, capfd, monkeypatch, how, says):
    run = ("problem=faulty_problems:DyingLoader", *SMALL[:1], "trainer.max_epochs=2", "hydra.run.dir=cut", "ckpt=last")
    assert here(*run, "trainer.max_epochs=1") == 0
    monkeypatch.setenv("UNREADABLE", how)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert here(*run, "workers=1") != 0
    assert re.search(says, json.loads(Path("cut/failed.json").read_text())["error"])
    assert re.search(says, capfd.readouterr().err)
    assert read_run(Path("cut")).error
    monkeypatch.delenv("UNREADABLE")
    assert here(*run) == 0
    assert parameters("cut")[0] == 8
    assert read_run(Path("cut")).finished


def test_two_trainings_of_one_directory_refuse_each_other(here, capfd):
    assert here("hydra.run.dir=one", *SMALL) == 0
    with lock(Path("one/claim")):
        assert here("hydra.run.dir=one", "ckpt=last", *SMALL) == 2
    assert "another process trains in one." in capfd.readouterr().err
    assert not Path("one/failed.json").exists()
    assert read_run(Path("one")).finished


def test_a_checkpoint_of_a_stranger_runs_nothing(here, capfd, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'owned'}",)

    strangers = {"torch.ckpt": torch.save, "pickle.ckpt": lambda x, path: path.write_bytes(pickle.dumps(x))}
    for name, save in strangers.items():
        save({"state_dict": Evil(), "loops": {}, "optimizer_states": []}, tmp_path / name)
        assert here(f"ckpt={tmp_path / name}", "hydra.run.dir=run", *SMALL) == 2
        assert "hold only tensors and plain values" in capfd.readouterr().err
    assert not (tmp_path / "owned").exists()
    # What the file would do where it is trusted.
    torch.load(tmp_path / "torch.ckpt", weights_only=False)
    assert (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"half", pickle.dumps({"a": 1})])
def test_a_file_that_is_no_checkpoint(here, capfd, content):
    Path("mine.ckpt").write_bytes(content)
    assert here("ckpt=mine.ckpt", "hydra.run.dir=run", *SMALL) == 2
    err = capfd.readouterr().err
    assert err.startswith("autoloss: A checkpoint must ")
    assert err.count("\n") == 1


def test_a_checkpoint_of_an_earlier_configuration_is_not_gone_on_with(here):
    sweep = ("-m", "seed=0", "hydra.sweep.dir=swept", "hydra.sweep.subdir=one", "problem=faulty_problems:Faulty")
    assert here(*sweep, "problem.pairs=200", "trainer.max_epochs=2") == 0
    # Of another configuration in the same place, stopped before its first checkpoint.
    Faulty.seen, Faulty.fault = 5, staticmethod(lambda: [os.kill(os.getpid(), 2) for _ in range(2)])
    assert here(*sweep, *SMALL) == 2
    assert Path("swept/one/checkpoints/last.ckpt").exists()
    assert here(*sweep, *SMALL, "fresh=true") == 130
    assert not Path("swept/one/checkpoints/last.ckpt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moments", range(2))
def test_ten_rounds_of_kill_and_resume_end_where_the_uninterrupted_run_does(tmp_path, moments):
    script = Path(__file__).with_name("killed_script.py")
    settings = ["problem.pairs=400", "trainer.max_epochs=100", "weighting=gradnorm", "checkpoint.every_steps=3"]
    command = [sys.executable, str(script), str(moments), "10", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert "killed 10" in done.stdout, done.stdout + done.stderr
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert (tmp_path / "whole/trajectory.csv").read_text() == (tmp_path / "cut/trajectory.csv").read_text()
    assert os.listdir(tmp_path / "cut/checkpoints") == ["last.ckpt"]

"""Several processes that train together, from the command line: one training, one directory, one word on the screen."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests import processes

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("ranks_script.py")
SMALL = ("trainer.accelerator=cpu", "problem.pairs=200", "record.every=1", "trainer.max_epochs=2")
TWO = ("trainer.devices=2", "batch_size=20", *SMALL)
PROBLEM = """
import os, pathlib, time
import torch.distributed as dist
from autoloss import ConfigError
from autoloss.problems.two_digits import TwoDigits

class Noted(TwoDigits):
    '''Writes the parameters that each rank evaluates, and does at its sixth step what FAULT says: `RANKS what`.'''
    seen = 0

    def outputs(self, network, batch):
        rank = dist.get_rank() if dist.is_initialized() else 0
        if not network.training:
            values = [p.double().sum().item().hex() for p in network.parameters()]
            pathlib.Path(os.environ["MARK"], f"rank{rank}").write_text(" ".join(values))
            return super().outputs(network, batch)
        Noted.seen += 1
        ranks, _, what = os.environ.get("FAULT", "").partition(" ")
        if Noted.seen == 6 and str(rank) in ranks:
            if what == "raise":
                raise OSError("disk on fire")
            if what == "refuse":
                raise ConfigError("It must rain, but it does not.")
            if what == "wait":
                pathlib.Path(os.environ["MARK"], "waits").touch()
                time.sleep(2)
            if what == "kill":
                os.kill(os.getpid(), 9)
        return super().outputs(network, batch)
"""
NOTED = "problem=noted:Noted"


@pytest.fixture
def place(tmp_path):
    """A directory with the problem; afterwards no process that was started there may be left."""
    (tmp_path / "noted.py").write_text(PROBLEM)
    yield tmp_path
    until = time.monotonic() + 20
    while (left := _left(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def _left(place):
    mark, found = f"MARK={place}".encode(), []
    for one in Path("/proc").iterdir():
        try:
            if one.name.isdigit() and mark in (one / "environ").read_bytes().split(b"\0"):
                found.append(int(one.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def start(place, *arguments, **env):
    return processes.start(SCRIPT, [str(place), *arguments], place / "log", {"MARK": str(place), **env})


def start_slurm(place, *arguments):
    with processes.socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    job = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "123", "SLURM_NODEID": "0", "SLURM_NNODES": "1"}
    job |= {"SLURM_JOB_NAME": "mine", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODELIST": "localhost"}
    job |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(place, *arguments, **job, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)]


def start_torch(place, *arguments):
    """Two processes with the variables of ``torchrun``."""
    with processes.socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    return [start(place, *arguments, **given, RANK=str(i), LOCAL_RANK=str(i)) for i in range(2)]


def ended(running, place, timeout=150.0):
    """The exit codes, and what was printed."""
    until = time.monotonic() + timeout
    try:
        for process in running:
            process.join(max(0.1, until - time.monotonic()))
        return [process.exitcode for process in running], (place / "log").read_text()
    finally:
        processes.kill(running)


def rows(directory):
    with (directory / "trajectory.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def parameters(directory):
    state = torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}


def check_union(place, directory, one, commands=1):
    """One process on batches twice as large has the same record, parameters and metrics; the ranks are identical."""
    found, whole = rows(directory), rows(one)
    assert [row["step"] for row in found] == list(range(10))
    assert len(whole) == len(found)
    for row, other in zip(found, whole, strict=True):
        assert row.keys() == other.keys()
        for key, value in other.items():
            assert row[key] == pytest.approx(value, rel=1e-5, abs=1e-5), (key, row["step"])
    for name, value in parameters(one).items():
        torch.testing.assert_close(parameters(directory)[name], value, rtol=1e-5, atol=1e-5, msg=name)
    assert (place / "rank0").read_text() == (place / "rank1").read_text()
    assert len({file.name.split(".")[-2] for file in directory.glob("events*")}) == commands  # processes that wrote
    summary, alone = (json.loads((d / "summary.json").read_text()) for d in (directory, one))
    assert summary["metrics"] == pytest.approx(alone["metrics"], rel=1e-4)
    assert not list(place.rglob("*ddp*"))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One process on the union of the batches."""
    place = tmp_path_factory.mktemp("one")
    (place / "noted.py").write_text(PROBLEM)
    line = ("train", "-m", "name=one", NOTED, "weighting=gradnorm,equal", "batch_size=40", "trainer.devices=1", *SMALL)
    codes, said = ended([start(place, *line)], place)
    assert codes == [0], said
    return place / "outputs/train/one"


def test_a_sweep_starts_the_processes_of_each_run(place, one):
    codes, said = ended([start(place, "train", "-m", "name=two", NOTED, "weighting=equal,gradnorm", *TWO)], place)
    assert codes == [0], said
    assert said.count("leaderboard:") == 1
    assert said.count("gradnorm: left_error") == 1
    check_union(place, place / "outputs/train/two/gradnorm", one / "gradnorm")


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook_find_unused_parameters_false"])
def test_every_way_to_start_processes_trains(place, one, strategy):
    line = ("train", "name=two", NOTED, "weighting=gradnorm", f"trainer.strategy={strategy}", "test=true", *TWO)
    codes, said = ended([start(place, *line)], place)
    assert codes == [0], said
    assert said.count("tensorboard --logdir") == said.count("test: ") == 1
    check_union(place, place / "outputs/train/two/001", one / "gradnorm")


@pytest.mark.parametrize("launcher", ["torch", "slurm"])
def test_processes_of_a_launcher_train_in_one_directory(place, one, launcher):
    line = ("train", "name=two", NOTED, "weighting=gradnorm", *TWO)
    running = (start_slurm if launcher == "slurm" else start_torch)(place, *line)
    codes, said = ended(running, place)
    assert codes == [0, 0], said
    assert said.count("tensorboard --logdir") == 1
    assert [p.name for p in (place / "outputs/train/two").iterdir()] == ["001"]
    check_union(place, place / "outputs/train/two/001", one / "gradnorm")


@pytest.mark.parametrize("command", [("-m", "autoloss"), (str(Path(sys.executable).with_name("autoloss")),)])
def test_torchrun_starts_a_sweep(place, one, command):
    env = {**os.environ, "MARK": str(place), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    line = [*run, *command, "train", "-m", "name=two", NOTED, "weighting=equal,gradnorm", *TWO]
    done = subprocess.run(line, cwd=place, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("leaderboard:") == 1
    check_union(place, place / "outputs/train/two/gradnorm", one / "gradnorm")


def test_a_killed_training_goes_on(place, one):
    line = ("train", "hydra.run.dir=two", NOTED, "weighting=gradnorm", *TWO)
    codes, _ = ended([start(place, *line, FAULT="0 kill")], place)
    assert codes == [-signal.SIGKILL]
    assert not (place / "two/summary.json").exists()
    codes, said = ended([start(place, *line, "ckpt=last")], place)
    assert codes == [0], said
    assert "goes on from" in said
    check_union(place, place / "two", one / "gradnorm", commands=2)


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        ("1 raise", 1, "2 processes of a training must reach its end, but process 1 failed: OSError: disk on fire."),
        ("1 kill", 1, "2 processes of a training must reach its end, but process 1 failed: it was ended by SIGKILL."),
        ("1 refuse", 1, "but process 1 failed: It must rain, but it does not."),
        ("01 refuse", 2, "autoloss: It must rain, but it does not."),
    ],
)
def test_a_process_that_fails_ends_all_with_one_sentence(place, fault, code, sentence):
    codes, said = ended([start(place, "train", "hydra.run.dir=two", NOTED, *TWO, FAULT=fault)], place)
    assert codes == [code], said
    assert said.count(sentence) == said.count("autoloss: ") == 1
    assert sentence.removeprefix("autoloss: ") in json.loads((place / "two/failed.json").read_text())["error"]
    assert not (place / "two/summary.json").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_all_and_the_run_goes_on_later(place, one, number, code):
    line = ("train", "hydra.run.dir=two", NOTED, "weighting=gradnorm", *TWO)
    running = start(place, *line, FAULT="0 wait")
    until = time.monotonic() + 90
    while not (place / "waits").exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(running.pid, number)
    codes, said = ended([running], place, 60)
    assert codes == [code], said
    assert json.loads((place / "two/summary.json").read_text())["state"] == "interrupted"
    codes, said = ended([start(place, *line, "ckpt=last")], place)
    assert codes == [0], said
    check_union(place, place / "two", one / "gradnorm", commands=2)


@pytest.mark.parametrize("wrong", ["batch_size=-3", "batch_sise=3", "trainer.devices=3", "ckpt=last"])
def test_what_is_refused_is_refused_once(place, wrong):
    codes, said = ended(start_slurm(place, "train", "name=two", NOTED, *TWO, wrong), place)
    assert codes == [2, 2], said
    assert said.count("autoloss: ") == 1
    assert len(said.strip().splitlines()) == 1


def test_processes_without_a_device_each_are_refused(place):
    running = start_torch(place, "train", NOTED, *SMALL)
    codes, said = ended(running, place)
    assert codes == [2, 2]
    assert said.count("must have a device each, but trainer.devices is 1") == 1


def test_tasks_of_slurm_on_one_device_are_runs_of_their_own(place):
    codes, said = ended(start_slurm(place, "train", "name=own", NOTED, "trainer.devices=1", *SMALL), place)
    assert codes == [0, 0], said
    assert sorted(p.name for p in (place / "outputs/train/own").iterdir()) == ["001", "002"]
    for run in (place / "outputs/train/own").iterdir():
        assert (run / "summary.json").exists()
        assert list(run.glob("events*"))


@pytest.mark.parametrize(
    "more",
    [
        ("problem=digits_gan", "trainer.strategy=ddp_find_unused_parameters_true", "trainer.limit_val_batches=1"),
        ("module=curriculum",),
        ("weighting=auto_lambda",),
        ("weighting=gradnorm", "anchor=fork"),
        ("weighting=gradnorm", "record.probe_every=2", "sample_weighting=super_loss"),
    ],
)
def test_every_module_makes_its_steps(place, more):
    gan = "problem=digits_gan" in more
    size = [one for one in TWO if not (gan and one.startswith("problem"))]
    codes, said = ended(
        [start(place, "train", "hydra.run.dir=two", *size, "trainer.limit_train_batches=4", *more)], place
    )
    assert codes == [0], said
    steps = [row["step"] for row in rows(place / "two")]
    assert steps == sorted(set(steps))
    assert len(steps) >= 4
    assert said.count("tensorboard --logdir") == 1


@pytest.mark.parametrize("verb", ["compare", "diagnose"])
def test_other_verbs_train_on_several_devices(place, verb):
    axis = ("weighting=equal,gradnorm", "compare.seeds=1") if verb == "compare" else ("diagnose.runs=1",)
    codes, said = ended([start(place, verb, "hydra.run.dir=two", NOTED, *axis, *TWO)], place)
    assert codes == [0], said
    assert said.count("report:") == 1


def test_a_search_says_that_it_needs_one_device(place):
    codes, said = ended([start(place, "search", NOTED, *TWO)], place)
    assert codes == [2]
    assert "A search's trials must run on one device" in said

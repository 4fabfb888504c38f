"""The script of docs/cluster.md, run as Slurm runs it: with its variables, its signal, and a queue that starts it again."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.study import open_storage
from tests.search.test_storages import proxy

__all__ = ["proxy"]  # a fixture

PAGE = Path(__file__).parents[2] / "docs/cluster.md"
TRIALS = 10
SEARCH = ("problem.pairs=400", "trainer.max_epochs=15", f"search.n_trials={TRIALS}", "search.fleet=2", "name=mine")
CONFIRM = ("search.confirm=1", "search.confirm_seeds=2")
STORE = "search.storage=${oc.env:AUTOLOSS_STORAGE}"


def script():
    (found,) = (one for one in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S) if "--array" in one)
    return found


@pytest.fixture
def cluster(tmp_path, proxy):
    """Starts tasks of the array; ``scontrol`` writes down what it is asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (
        ("autoloss", f'exec "{sys.executable}" -W ignore -m autoloss "$@"'),
        ("scontrol", f'echo "$@" >> "{tmp_path}/asked"'),
    ):
        (tools / name).write_text(f"#!/bin/bash\n{line}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "search.sh").write_text(script())
    running = []

    def start(task, restarts=0):
        env = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "AUTOLOSS_STORAGE": proxy,
            "SLURM_JOB_ID": str(4700 + task),
            "SLURM_ARRAY_JOB_ID": "4700",
            "SLURM_ARRAY_TASK_ID": str(task),
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_RESTART_COUNT": str(restarts),
            "SLURM_JOB_NAME": "search",
            "SLURM_NTASKS": "1",
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
            "SLURM_NNODES": "1",
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURM_SUBMIT_DIR": str(tmp_path),
        }
        log = tmp_path / f"slurm-4700_{task}.out"
        with log.open("a") as out:
            command = ["bash", "search.sh", *SEARCH, *CONFIRM]
            running.append(
                subprocess.Popen(command, cwd=tmp_path, env=env, stdout=out, stderr=out, start_new_session=True)
            )
        return running[-1], log

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def begun(place, process, log):
    """Wait until ``process`` trains trials that follow the baseline."""
    deadline = time.monotonic() + 300
    while len(list(place.glob("outputs/search/mine/trials/*/trajectory.csv"))) < 2:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.mark.slow
def test_the_array_of_the_page_keeps_the_budget_when_a_task_is_preempted(cluster, proxy, tmp_path):
    (first, first_log), (second, second_log) = cluster(0), cluster(1)
    begun(tmp_path, second, second_log)
    second.send_signal(signal.SIGUSR1)
    assert second.wait(timeout=120) == 0, second_log.read_text()
    assert (tmp_path / "asked").read_text() == "requeue 4700_1\n"
    assert "stopped by SIGUSR1" in second_log.read_text()
    again, _ = cluster(1, restarts=1)
    for process, log in ((first, first_log), (again, second_log)):
        assert process.wait(timeout=400) == 0, log.read_text()
    trials = budget.counted(optuna.load_study(study_name="autoloss/mine", storage=open_storage(proxy, tmp_path)))
    assert [t.state for t in trials] == [TrialState.COMPLETE] * TRIALS
    assert sum(bool(t.user_attrs.get("baseline")) for t in trials) == 1
    root = tmp_path / "outputs/search/mine"
    assert len(list(root.glob("confirm/*/*/confirmed.json"))) == 2 * 2
    assert (root / "leaderboard.md").is_file()
    assert "verdict" in (root / "search.json").read_text()
    # No other start asks Slurm for anything, and the password of a storage would be in no file.
    assert (tmp_path / "asked").read_text() == "requeue 4700_1\n"
    assert STORE in (tmp_path / "search.sh").read_text()


@pytest.mark.slow
def test_a_task_that_fails_is_not_requeued(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.CONFIRM", ("weightign=equal",))
    process, log = cluster(0)
    assert process.wait(timeout=120) == 2, log.read_text()
    assert not (tmp_path / "asked").exists()


@pytest.mark.slow
def test_a_run_with_a_directory_goes_on_after_the_signal_by_the_same_command(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "autoloss", "train", "problem.pairs=400", "trainer.max_epochs=400"]
    command += [f"hydra.run.dir={tmp_path}/run", "ckpt=last"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=said, stderr=said)
        try:
            deadline = time.monotonic() + 200
            while not (tmp_path / "run/checkpoints/last.ckpt").exists():
                assert process.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGUSR1)
            assert process.wait(timeout=100) == 0, (tmp_path / "said").read_text()
        finally:
            process.kill()
            process.wait()
    again = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert "goes on from" in again.stdout.readline()
    finally:
        again.kill()
        again.communicate()

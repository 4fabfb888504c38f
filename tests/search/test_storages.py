"""Workers that share a real database, or a proxy in front of one; one worker is killed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.samplers import build_pruner
from autoloss.search.study import open_storage, open_study

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("worker_script.py")


def free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def as_server():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = next(name for name in ("postgres", "nobody") if any(entry.pw_name == name for entry in pwd.getpwall()))
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


@pytest.fixture(scope="module")
def postgresql():
    """The URL of a server of this test's own."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("there is no PostgreSQL server on this machine")
    # Not below pytest's directory, which only its owner may enter.
    place = Path(subprocess.check_output(["mktemp", "-d", "/tmp/autoloss-postgresql-XXXX"], text=True).strip())
    place.chmod(0o777)
    port, data, run = free_port(), place / "data", {"cwd": place, "check": True, "capture_output": True}
    control = str(Path(initdb).with_name("pg_ctl"))
    subprocess.run([*as_server(), initdb, "-D", data, "-U", "me", "-A", "trust", "--no-sync"], **run)
    options = f"-p {port} -k {place} -c listen_addresses=localhost -c fsync=off"
    subprocess.run([*as_server(), control, "-D", data, "-w", "-o", options, "-l", place / "log", "start"], **run)
    yield f"postgresql+psycopg2://me@localhost:{port}/postgres"
    subprocess.run([*as_server(), control, "-D", data, "-m", "immediate", "stop"], **run)
    subprocess.run(["rm", "-rf", place], check=True)


@pytest.fixture
def proxy(started, tmp_path):
    """The address of a gRPC proxy in front of a database in a file."""
    port = free_port()
    code = (
        "import sys, optuna\nfrom optuna.storages import get_storage, run_grpc_proxy_server\n"
        f"run_grpc_proxy_server(get_storage('sqlite:///{tmp_path}/proxied.db'), host='localhost', port={port})"
    )
    started("-W", "ignore", "-c", code, log=tmp_path / "proxy.log")
    return f"grpc://localhost:{port}"


def await_trial(study, number, process, log):
    """The running trial ``number`` or a later one, once ``process`` has begun it."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        for trial in study().get_trials(states=[TrialState.RUNNING]):
            mine = trial.user_attrs.get("worker", {}).get("pid") == process.pid
            if mine and trial.number >= number and "label" in trial.user_attrs:
                return trial
        time.sleep(0.1)
    raise TimeoutError


def check(study, n_trials, killed):
    assert len(budget.counted(study)) == n_trials
    assert {t.state for t in budget.counted(study)} == {TrialState.COMPLETE}
    assert sum(t.user_attrs.get("baseline", False) for t in budget.counted(study)) == 1
    assert [t.user_attrs["again_for"] for t in study.trials if "again_for" in t.user_attrs] == [killed]


@pytest.mark.parametrize("unseen", [False, True], ids=["seen", "on another host"])
@pytest.mark.parametrize("kind", ["postgresql", "proxy"])
def test_one_of_two_workers_is_killed_and_the_other_finishes_the_budget(request, started, tmp_path, kind, unseen):
    storage = request.getfixturevalue(kind)
    if kind == "postgresql":
        subprocess.run([sys.executable, "-c", EMPTY, storage], check=True)
    else:
        open_storage(storage, tmp_path)

    def study():
        return open_study(
            open_storage(storage, tmp_path), "autoloss", {}, ["maximize"], build_pruner({"name": "none"}, 1, 0)
        )

    logs = [tmp_path / f"log-{i}" for i in range(2)]
    command = ["-W", "ignore", str(SCRIPT), str(tmp_path), "8", "1.5", storage]
    workers = [started(*command, log=log) for log in logs]
    for worker, log in zip(workers, logs, strict=True):
        trial = await_trial(study, 1, worker, log)
    if unseen:
        elsewhere = {**trial.user_attrs["worker"], "host": "another"}
        study()._storage.set_trial_user_attr(trial._trial_id, "worker", elsewhere)
    os.kill(workers[1].pid, signal.SIGKILL)
    workers[1].wait()
    assert workers[0].wait(timeout=90) == 0, logs[0].read_text()
    check(study(), 8, trial.number)


def test_the_command_itself_on_postgresql(postgresql, started, tmp_path):
    subprocess.run([sys.executable, "-c", EMPTY, postgresql], check=True)
    command = ["-m", "autoloss", "search", "problem.pairs=200", "trainer.max_epochs=40", "name=mine"]
    command += ["search.n_trials=8", "search.confirm=0", f"search.storage={postgresql}"]
    logs = [tmp_path / f"log-{i}" for i in range(2)]

    def study():
        # Read as Optuna's own tools do.
        import optuna

        return optuna.load_study(study_name="autoloss/mine", storage=RDBStorage(postgresql))

    workers = [started(*command, log=log) for log in logs]
    deadline = time.monotonic() + 60
    while True:
        try:
            trial = await_trial(study, 1, workers[1], logs[1])
            break
        except (KeyError, RuntimeError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
    os.kill(workers[1].pid, signal.SIGKILL)
    assert workers[0].wait(timeout=120) == 0, logs[0].read_text()
    check(study(), 8, trial.number)
    assert (tmp_path / "outputs/search/mine/leaderboard.md").exists()


EMPTY = (
    "import sys, sqlalchemy as sql\nengine = sql.create_engine(sys.argv[1])\nwith engine.begin() as c:\n"
    "    c.execute(sql.text('drop schema public cascade'))\n    c.execute(sql.text('create schema public'))"
)

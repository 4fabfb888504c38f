"""Hydra's launchers for many processes, with our sweeper and with fleets; each is skipped where it is not installed."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autoloss.search import budget
from tests.app.fleets import rows

SMALL = ("problem.pairs=200", "trainer.max_epochs=1")
OPTIONS = {
    "submitit_local": ("hydra.launcher.timeout_min=10",),
    "ray": ("+hydra.launcher.ray.init.object_store_memory=null",),
    "joblib": ("hydra.launcher.n_jobs=2",),
}
# A search in a job of each launcher's own engine. Two jobs share the study.
JOB = """
import os, sys

def search(arguments):
    from autoloss.app.main import main
    return main(["search", *arguments])
"""
JOBS = {
    "submitit_local": """
import submitit
executor = submitit.AutoExecutor(folder="logs", cluster="local")
executor.update_parameters(timeout_min=10)
jobs = [executor.submit(search, sys.argv[1:]) for _ in range(2)]
codes = [job.result() for job in jobs]
""",
    "ray": """
import ray
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
job = ray.remote(search).options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
codes = ray.get([job.remote([*sys.argv[1:], f"hydra.run.dir={os.getcwd()}/out"]) for _ in range(2)])
""",
    "joblib": """
from joblib import Parallel, delayed
codes = Parallel(n_jobs=2, backend="loky")(delayed(search)(sys.argv[1:]) for _ in range(2))
""",
}

pytestmark = pytest.mark.slow


def installed(name):
    module = "hydra_plugins.hydra_" + name.partition("_")[0] + "_launcher"
    return importlib.util.find_spec(module) is not None


@pytest.fixture(params=list(OPTIONS))
def launcher(request, tmp_path):
    """The name of a launcher, and the environment of its processes; of Ray, with a cluster of this test's own."""
    if not installed(request.param):
        pytest.skip(f"hydra-{request.param.partition('_')[0]}-launcher is not installed")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if request.param != "ray":
        yield request.param, env
        return
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port = one.getsockname()[1]
    env |= {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_AUTH_MODE": "disabled"}
    # Not below pytest's directory: the path of a socket has at most 107 bytes.
    place = subprocess.check_output(["mktemp", "-d", "/tmp/ray-XXXX"], text=True).strip()
    head = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    more = [
        f"--temp-dir={place}",
        "--include-dashboard=false",
        "--object-store-memory=80000000",
        "--disable-usage-stats",
    ]
    with (tmp_path / "ray.log").open("w") as log:
        cluster = subprocess.Popen([*head, *more], env=env, stdout=log, stderr=log)
        yield request.param, env
        cluster.terminate()
        cluster.wait(timeout=60)
    subprocess.run(["rm", "-rf", place], check=True)


def run(command, cwd, env):
    # A file, not a pipe: the processes of a pool may keep it open.
    with (cwd / "said").open("w") as said:
        done = subprocess.run(command, cwd=cwd, env=env, stdout=said, stderr=said, timeout=500)
    return done.returncode, (cwd / "said").read_text()


def autoloss(cwd, env, *arguments):
    return run([sys.executable, "-m", "autoloss", *arguments], cwd, env)


def study(path, name=None):
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path / "study.log"))))


def test_a_sweep_of_our_sweeper(launcher, tmp_path):
    name, env = launcher
    sweep = ("train", "-m", "hydra/sweeper=autoloss", f"hydra.sweep.dir={tmp_path}/sweep", "hydra.sweeper.n_jobs=2")
    swept = ("weighting=choice(equal,gradnorm)", "optimizer.lr=interval(1e-4,1e-2)", "hydra.sweeper.n_trials=3")
    code, said = autoloss(tmp_path, env, *sweep, *swept, f"hydra/launcher={name}", *OPTIONS[name], *SMALL)
    assert code == 0, said
    root = tmp_path / "sweep"
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(root.glob("*/summary.json"))}
    assert list(found) == ["0000", "0001", "0002"]
    assert found["0000"]["weighting"] == "equal"
    trials = study(root).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 3
    for trial in trials[1:]:
        assert found[trial.user_attrs["directory"]]["config"]["optimizer"]["lr"] == trial.params["optimizer.lr"]
    assert {t.user_attrs["directory"]: t.user_attrs["metrics"] for t in trials} == {
        directory: summary["metrics"] for directory, summary in found.items()
    }


def test_a_sweep_of_hydra(launcher, tmp_path):
    name, env = launcher
    arguments = ("weighting=gradnorm", *SMALL)
    sweep = ("train", "-m", "seed=0,1", *arguments, f"hydra.sweep.dir={tmp_path}/sweep")
    code, said = autoloss(tmp_path, env, *sweep, f"hydra/launcher={name}", *OPTIONS[name])
    assert code == 0, said
    code, said = autoloss(tmp_path, env, "train", "seed=1", *arguments, f"hydra.run.dir={tmp_path}/alone")
    assert code == 0, said
    runs = sorted(path.parent.name for path in (tmp_path / "sweep").glob("*/summary.json"))
    assert runs == ["seed_0", "seed_1"]
    assert (tmp_path / "sweep/leaderboard.md").is_file()
    assert rows(tmp_path / "sweep/seed_1") == [pytest.approx(row, nan_ok=True) for row in rows(tmp_path / "alone")]


def test_a_search_with_fleets_in_jobs(launcher, tmp_path):
    name, env = launcher
    script = tmp_path / "jobs.py"
    (tmp_path / "work.py").write_text(JOB)
    script.write_text(
        "import os, sys\n"
        "from work import search\n"
        f"if __name__ == '__main__':\n    {JOBS[name].strip().replace(chr(10), chr(10) + '    ')}\n    sys.exit(max(codes))\n"
    )
    env = {**env, "PYTHONPATH": f"{tmp_path}:{env.get('PYTHONPATH', '')}"}
    more = ("search.fleet=3", "search.n_trials=6", "search.confirm=1", "search.confirm_seeds=2")
    code, said = run([sys.executable, str(script), *SMALL, *more, f"hydra.run.dir={tmp_path}/out"], tmp_path, env)
    assert code == 0, said
    counted = budget.counted(study(tmp_path / "out"))
    assert [t.state for t in counted] == [TrialState.COMPLETE] * 6
    assert len(list(Path(tmp_path / "out").glob("trials/*/summary.json"))) == 6
    assert len(list(Path(tmp_path / "out").glob("confirm/*/*/confirmed.json"))) == 4

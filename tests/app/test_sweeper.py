"""`autoloss train -m hydra/sweeper=autoloss` as a person types it."""

import importlib.util
import json
import os
import subprocess
import sys
import time

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

SMALL = ("trainer.max_epochs=1", "problem.pairs=200")
SWEEP = ("train", "-m", "hydra/sweeper=autoloss", "hydra.sweep.dir=sweep")
SWEPT = ("weighting=choice(equal,gradnorm)", "optimizer.lr=interval(1e-4,1e-2)")


def trials(root):
    storage = JournalStorage(JournalFileBackend(str(root / "study.log")))
    return optuna.load_study(study_name="autoloss", storage=storage).trials


def runs(root):
    return {p.parent.name: json.loads(p.read_text()) for p in sorted(root.glob("*/summary.json"))}


def test_a_sweep_is_sampled_and_ends_with_the_leaderboard(autoloss, tmp_path):
    command = (*SWEEP, *SWEPT, *SMALL)
    done = autoloss(*command, "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    root = tmp_path / "sweep"
    found = runs(root)
    assert list(found) == ["0000", "0001", "0002", "0003"]
    assert found["0000"]["weighting"] == "equal"
    told = trials(root)
    assert [t.state for t in told] == [TrialState.COMPLETE] * 4
    assert told[0].value == 0
    for trial in told[1:]:
        summary = found[trial.user_attrs["directory"]]
        assert summary["config"]["optimizer"]["lr"] == trial.params["optimizer.lr"]
        assert summary["weighting"] == trial.params["weighting"]
        assert summary["metrics"] == trial.user_attrs["metrics"]
    # The study's scores are those of the leaderboard.
    board = (root / "leaderboard.csv").read_text()
    for trial in told:
        assert f"{trial.value:.9g}" in board
    assert "rank" in done.stdout


@pytest.mark.slow
def test_a_sweep_goes_on_with_what_is_missing(autoloss, tmp_path):
    command, root = (*SWEEP, *SWEPT, *SMALL), tmp_path / "sweep"
    assert autoloss(*command, "hydra.sweeper.n_trials=4").returncode == 0
    stamps = {p: p.stat().st_mtime_ns for p in root.glob("*/summary.json")}
    again = autoloss(*command, "hydra.sweeper.n_trials=6")
    assert again.returncode == 0, again.stderr
    assert "4 finished, 2 to go" in again.stdout
    assert len(runs(root)) == len(trials(root)) == 6
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    other = autoloss(*command, "batch_size=64")
    assert other.returncode == 2
    assert "batch_size=128 and not 64" in other.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="hydra-joblib-launcher is not installed",
)
def test_joblib_launches_batches(process, tmp_path):
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")
    swept = ("weighting=gradnorm", "optimizer.lr=interval(1e-4,1e-2)")
    done = process(*SWEEP, *parallel, *swept, *SMALL, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler=random")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "sweep"
    found = runs(root)
    assert list(found) == ["0000", "0001", "0002", "0003"]
    told = trials(root)
    # No run can have equal weights: the problem's first metric, in its direction.
    assert [t.value for t in told] == [found[t.user_attrs["directory"]]["metrics"]["left_error"] for t in told]
    assert "for the best left_error (min)" in done.stdout
    assert len({t.params["optimizer.lr"] for t in told}) == 4


def test_a_failing_job_is_told_as_failed_and_listed_and_the_sweep_goes_on(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Sometimes(TwoDigits):\n"
        "    recipe = {'trainer': {'max_epochs': 1}}\n"
        "    def datasets(self, seed):\n"
        "        if seed == 1: raise OSError('disk on fire')\n"
        "        return super().datasets(seed)\n"
    )
    grid = ("hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=9", "weighting=fixed,equal", "seed=1,0")
    done = autoloss(*SWEEP, *grid, "problem=mine:Sometimes", "problem.pairs=200")
    assert done.returncode == 1
    root = tmp_path / "sweep"
    # The grid ends the sweep, not n_trials; equal weights come first, at the seed of the configuration.
    assert [t.state.name for t in trials(root)] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert trials(root)[1].user_attrs["error"] == "OSError: disk on fire"
    assert "failed: 0001: OSError: disk on fire" in done.stdout
    assert "5 of 5 trials, 2 failed" in done.stdout
    # The grid's equal weights at seed 0 are the equal-weights run.
    assert len(list(root.glob("[0-9]*"))) == 4


@pytest.mark.slow
def test_what_a_killed_sweep_was_running_is_run_again_and_what_is_known_is_not(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Slow(TwoDigits):\n"
        "    recipe = {'trainer': {'max_epochs': 1}}\n"
        "    def datasets(self, seed):\n"
        "        if seed == 1 and not Path('go').exists():\n"
        "            Path('waits').touch()\n"
        "            time.sleep(60)\n"
        "        return super().datasets(seed)\n"
    )
    # There are three different runs for five trials: two are told what is known.
    options = ("hydra.sweeper.sampler=random", "hydra.sweeper.n_trials=5", "hydra.sweeper.metric=left_error")
    command = [*SWEEP, *options, "weighting=equal", "seed=choice(1,2)", "problem=mine:Slow", "problem.pairs=200"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([sys.executable, "-m", "autoloss", *command], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "waits").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    second = autoloss(*command)
    assert second.returncode == 2
    assert "A sweep must be run by one process, but another process runs trial" in second.stderr
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    done = autoloss(*command)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "sweep"
    assert sorted(r["config"]["seed"] for r in runs(root).values()) == [0, 1, 2]
    counted = [t for t in trials(root) if "left_out" not in t.user_attrs]
    assert [t.state for t in counted] == [TrialState.COMPLETE] * 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["hydra.sweeper.sampler=tpee", *SWEPT], "No sampler is called 'tpee'. Did you mean 'tpe'?"),
        (["weighting=gradnorm"], "A sweep must vary a key, but nothing is swept."),
        (["hydra.sweeper.n_trials=0", *SWEPT], "hydra.sweeper.n_trials must be at least 1, but it is 0."),
        (["hydra.sweeper.metric=miou", *SWEPT], "hydra.sweeper.metric must be score or one of left_error"),
        (["hydra.sweeper.metric=score", "weighting=dwa,gradnorm"], "A score needs a run with equal weights"),
        (
            ["problem=two_digits,noisy_moons", "seed=1,2"],
            "All runs of a sweep must train the same problem, but problem is swept",
        ),
        (["weighting=choice(equal,gradnrom)"], "No weighting is called 'gradnrom'. Did you mean 'gradnorm'?"),
        (["weighting=choice(equal,gradnorm)", "weighting.alpha=interval(0,2)"], "weighting.alpha"),
        ([*SWEPT, "batch_size=0"], "batch_size must be at least 1"),
    ],
)
def test_a_sweep_that_cannot_be_is_one_sentence_before_anything_trains(mistaken, tmp_path, arguments, sentence):
    quoted = " ".join(f'"{a}"' for a in [*SWEEP, *arguments])
    code, _, err = mistaken(quoted)
    assert code == 2, err
    assert sentence in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("config.json"))


def test_hydra_finds_the_sweeper_without_importing_torch_or_optuna():
    code = (
        "import sys; from hydra.core.plugins import Plugins; from hydra.plugins.sweeper import Sweeper;"
        "print([c.__name__ for c in Plugins.instance().discover(Sweeper)]);"
        "print({'torch', 'optuna', 'pytorch_lightning', 'autoloss'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "AutolossSweeper" in out
    assert out.splitlines()[-1] == "set()"


# With options that let each method begin within a few trials.
SAMPLERS = {
    "random": "random",
    "tpe": "{name:tpe,n_startup_trials:3}",
    "gp": "{name:gp,n_startup_trials:3}",
    "cmaes": "cmaes",
    "qmc": "qmc",
    "nsga2": "nsga2",
}


@pytest.mark.slow
def test_a_sweep_draws_from_the_sampler_that_is_asked_for(autoloss, tmp_path):
    found = {}
    for sampler, given in SAMPLERS.items():
        swept = ("weighting=choice(equal,dwa)", "optimizer.lr=interval(1e-4,1e-2)", "problem.pairs=64")
        done = autoloss(
            *("train", "-m", "hydra/sweeper=autoloss", f"hydra.sweep.dir={sampler}", *swept, "trainer.max_epochs=1"),
            *(f"hydra.sweeper.sampler={given}", "hydra.sweeper.n_trials=9"),
        )
        assert done.returncode == 0, done.stderr
        assert ("cmaes has a model of numbers; tpe draws weighting." in done.stdout) == (sampler == "cmaes")
        found[sampler] = [t.params.get("optimizer.lr") for t in trials(tmp_path / sampler)]
    for sampler, values in found.items():
        assert len(set(values)) > 5, sampler
        assert values not in [of for other, of in found.items() if other != sampler], sampler


def test_a_sweep_too_short_for_a_model_says_so(autoloss):
    for sampler, sentence in (
        ("gp", "gp draws its first 10 trials at random, and hydra.sweeper.n_trials=2 ends within them."),
        ("nsga2", "nsga2 draws its first generation at random, and hydra.sweeper.n_trials=2 ends within its 4."),
    ):
        swept = (f"hydra.sweep.dir={sampler}", f"hydra.sweeper.sampler={sampler}", "optimizer.lr=interval(1e-4,1e-2)")
        done = autoloss("train", "-m", "hydra/sweeper=autoloss", "hydra.sweeper.n_trials=2", *swept, *SMALL)
        assert done.returncode == 0, done.stderr
        assert sentence in done.stdout

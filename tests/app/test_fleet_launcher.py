"""`autoloss train -m hydra/launcher=autoloss_fleet`: a sweep whose runs are trained as one."""

import csv
import json
import re

import pytest
import yaml

from autoloss.core.errors import ConfigError
from tests.app.fleets import members, rows, worth_it

__all__ = ["members", "worth_it"]  # fixtures

SMALL = ("problem.pairs=200", "trainer.max_epochs=2")
FLEET = "hydra/launcher=autoloss_fleet"
CALLBACK = '''
import json
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from autoloss.problems.two_digits import TwoDigits


class Noted(Callback):
    """Notes what Hydra says of each job."""

    def on_job_start(self, config, **kwargs):
        self._note("starts", HydraConfig.get())

    def on_job_end(self, config, job_return, **kwargs):
        self._note("ends", job_return.hydra_cfg.hydra, job_return.status.name, job_return.return_value)

    def _note(self, what, hydra, *more):
        job = hydra.job
        with open(str(hydra.sweep.dir) + "/notes", "a") as file:
            print(json.dumps([what, job.num, job.id, list(hydra.overrides.task), *more]), file=file)


class One(TwoDigits):
    """Has one metric, so that a job returns it; some seeds fail."""

    metrics = {"left_error": "min"}

    def datasets(self, seed):
        if seed == 1:
            raise OSError("disk on fire")
        if seed == 2:
            raise SystemExit(3)
        return super().datasets(seed)

    def measure(self, outputs):
        return {"left_error": super().measure(outputs)["left_error"]}
'''


def files(root):
    """The files of each run, without those that are named by time.

    Lightning writes an empty hparams.yaml.
    """
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and "events.out" not in path.name and path.name != "hparams.yaml"
    }


def notes(root):
    """What was noted of each job by its number."""
    found = {}
    for line in (root / "notes").read_text().splitlines():
        what, number, *more = json.loads(line)
        found.setdefault(number, []).append((what, *more))
    return found


def both(autoloss, root, *arguments):
    """The command with Hydra's own launcher, and with ours."""
    done = []
    for name, launcher in (("basic", ()), ("fleet", (FLEET,))):
        done.append(autoloss("train", "-m", *SMALL, *arguments, *launcher, f"hydra.sweep.dir={name}"))
    return *done, root / "basic", root / "fleet"


def same_runs(basic, fleet):
    assert files(fleet) == files(basic)
    for path in sorted(basic.glob("*/summary.json")):
        other = fleet / path.parent.name
        one, two = (json.loads(file.read_text()) for file in (path, other / "summary.json"))
        for key in ("metrics", "final_weights", "mean_weight_sum", "test_metrics"):
            assert two.pop(key, {}) == pytest.approx(one.pop(key, {}), rel=1e-3), (path, key)
        assert {**two, "seconds": 0} == {**one, "seconds": 0}
        ours, theirs = rows(other), rows(path.parent)
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert ours[-1] == pytest.approx(theirs[-1], rel=1e-2, abs=1e-5, nan_ok=True)
        assert json.loads((other / "config.json").read_text()) == json.loads((path.parent / "config.json").read_text())


def hydra_files(root):
    """Hydra's files of each run, with the names of the sweep and of its launcher left out."""
    found = {}
    for path in sorted([*root.glob("*/.hydra/*.yaml"), root / "multirun.yaml"]):
        text = re.sub(r"\b(basic|fleet)\b", "SWEEP", path.read_text().replace("|hydra/launcher", ""))
        content = yaml.safe_load(text)
        if isinstance(content, dict) and "hydra" in content:
            of = content["hydra"]
            del of["launcher"], of["runtime"]["choices"]["hydra/launcher"]
            of["overrides"]["hydra"] = [one for one in of["overrides"]["hydra"] if "launcher" not in one]
        found[str(path.relative_to(root))] = content
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Hydra leaves logs open
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_sweep_leaves_what_it_leaves_one_by_one(autoloss, tmp_path, worth_it, members):
    swept = ("weighting=equal,gradnorm", "seed=0,1,2", "hydra/job_logging=default", "test=true")
    one, other, basic, fleet = both(autoloss, tmp_path, *swept)
    assert (one.returncode, other.returncode) == (0, 0), other.stderr
    assert members == [6]
    same_runs(basic, fleet)
    assert hydra_files(fleet) == hydra_files(basic)
    titles = [re.findall(r"^(\[\d/6\] \S+): left_error", done.stdout, re.M) for done in (one, other)]
    assert titles[0] == titles[1] != []
    boards = []
    for root in (basic, fleet):
        with (root / "leaderboard.csv").open(newline="") as file:
            boards.append({row["run"]: float(row["score"]) for row in csv.DictReader(file)})
    assert boards[1] == pytest.approx(boards[0], abs=1e-2)


def test_a_failure_is_that_of_one_run_and_hydra_is_told_of_each_job(autoloss, tmp_path, worth_it, members):
    (tmp_path / "mine.py").write_text(CALLBACK)
    swept = ("problem=mine:One", "seed=0,1,2,3", "optimizer.lr=1e-3,1e18", "+hydra.callbacks.mine._target_=mine.Noted")
    one, other, basic, fleet = both(autoloss, tmp_path, *swept)
    assert (one.returncode, other.returncode) == (1, 1)
    assert members == [4]
    same_runs(basic, fleet)
    errors = [
        {path.parent.name: json.loads(path.read_text())["error"] for path in root.glob("*/failed.json")}
        for root in (basic, fleet)
    ]
    assert errors[0] == errors[1]
    assert {error.partition(",")[0].partition(":")[0] for error in errors[1].values()} > {"OSError"}
    assert len(errors[1]) == 6
    told, ours = notes(basic), notes(fleet)
    assert list(ours) != []
    assert sorted(ours) == sorted(told) == list(range(8))
    for number, (starts, ends) in told.items():
        assert ours[number][0] == starts
        assert ours[number][1][:-1] == ends[:-1]
        assert ours[number][1][-1] == pytest.approx(ends[-1]), number
    assert sum(ends[-1] is not None for _, ends in ours.values()) == 2


def test_what_cannot_be_in_the_fleet_is_trained_alone_and_one_line_says_why(autoloss, tmp_path, worth_it, members):
    swept = ("checkpoint.every_steps=0,2", "weighting=equal,famo,dwa")
    one, other, basic, fleet = both(autoloss, tmp_path, *swept)
    assert (one.returncode, other.returncode) == (0, 0), other.stderr
    same_runs(basic, fleet)
    why = [line for line in other.stdout.splitlines() if line.startswith("trained one by one")]
    assert sum("checkpoint.every_steps" in line for line in why) == 1
    assert sum(members) == 3
    assert len([*fleet.glob("*/checkpoints/last.ckpt")]) == 6


def test_what_is_finished_is_not_trained_again_by_either_launcher(autoloss, tmp_path, worth_it, members):
    command = ("train", "-m", *SMALL, "seed=0,1,2,3", "hydra.sweep.dir=sweep")
    assert autoloss(*command, FLEET).returncode == 0
    again = autoloss(*command)
    assert again.stdout.count("skipped") == 4
    for seed in (1, 3):
        (tmp_path / f"sweep/seed_{seed}/summary.json").unlink()
        (tmp_path / f"sweep/seed_{seed}/checkpoints/last.ckpt").unlink()
    more = autoloss(*command, "hydra.sweep.dir=sweep", FLEET)
    assert more.returncode == 0, more.stderr
    assert more.stdout.count("skipped") == 2
    assert members == [4, 2]


def test_a_run_with_a_checkpoint_goes_on_from_it(autoloss, tmp_path, worth_it, members):
    command = ("train", "-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=sweep")
    assert autoloss(*command).returncode == 0
    for seed in (0, 1, 2):
        (tmp_path / f"sweep/seed_{seed}/summary.json").unlink()
    for seed in (1, 2):
        (tmp_path / f"sweep/seed_{seed}/checkpoints/last.ckpt").unlink()
    done = autoloss(*command, FLEET)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("goes on from") == 1
    assert members == [2]


def test_two_jobs_of_the_same_run_are_trained_once(autoloss, tmp_path, worth_it, members):
    done = autoloss("train", "-m", *SMALL, "seed=0,0,1", FLEET, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert members == [2]
    assert done.stdout.count("skipped") == 1


def test_our_sweeper_gives_it_batches(autoloss, tmp_path, worth_it, members):
    sweep = ("train", "-m", "hydra/sweeper=autoloss", "hydra.sweeper.n_trials=7", "hydra.sweeper.n_jobs=3")
    swept = ("weighting=choice(equal,gradnorm)", "optimizer.lr=interval(1e-4,1e-2)")
    done = autoloss(*sweep, *swept, *SMALL, FLEET, "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert members == [3, 3]
    found = sorted((tmp_path / "sweep").glob("*/summary.json"))
    assert [path.parent.name for path in found] == [f"{i:04d}" for i in range(7)]
    assert json.loads(found[0].read_text())["weighting"] == "equal"
    assert "7 of 7 trials" in done.stdout


@pytest.mark.parametrize("sweeper", ["basic", "autoloss"])
def test_a_fleet_of_no_run_is_a_mistake(autoloss, tmp_path, sweeper):
    done = autoloss("train", "-m", f"hydra/sweeper={sweeper}", "weighting=equal,dwa", FLEET, "hydra.launcher.fleet=0")
    assert done.returncode == 2
    assert done.stderr == (
        "autoloss: hydra.launcher.fleet must be auto, or a number of at least 1, but it is 0. 1 trains one after the "
        "other.\n"
    )
    assert not list(tmp_path.rglob("summary.json"))


def test_another_task_is_refused():
    from hydra_plugins.hydra_autoloss.launcher import AutolossFleetLauncher

    def other(config):
        return None

    with pytest.raises(ConfigError, match="trains the runs of `autoloss train`, but the task is 'other'. Choose"):
        AutolossFleetLauncher("auto").setup(hydra_context=None, task_function=other, config=None)


def test_one_by_one_if_the_fleet_has_one_member(autoloss, tmp_path, worth_it, members):
    done = autoloss("train", "-m", *SMALL, "seed=0,1", FLEET, "hydra.launcher.fleet=1", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert members == []
    assert len([*(tmp_path / "sweep").glob("*/checkpoints/last.ckpt")]) == 2

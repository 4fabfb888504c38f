"""`autoloss search` as a person types it, and as a cluster ends it."""

import csv
import json
import signal
import subprocess
import sys
import time

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.space import name_and_numbers

SEARCH = ("-m", "autoloss", "search")
SMALL = ("problem.pairs=200", "trainer.max_epochs=1", "name=mine")
# One trial after the other: what happens to fleets is in test_fleet_faults.
SLOW = ("problem.pairs=200", "trainer.max_epochs=40", "name=mine", "search.fleet=1")
QUIET = ("search.confirm=0",)


def study_of(tmp_path):
    path = tmp_path / "outputs/search/mine/study.log"
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


def until_running(tmp_path, number, process):
    """Wait until trial ``number`` trains."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, (tmp_path / "log-0").read_text()
        time.sleep(0.05)
        if any((tmp_path / "outputs/search/mine/trials").glob(f"{number:04d}-*/trajectory.csv")):
            return
    raise TimeoutError


def test_a_search_ends_with_a_leaderboard_and_a_verdict_and_goes_on(autoloss, tmp_path):
    command = ("search", *SMALL, "search.confirm=1", "search.confirm_seeds=2", "search.weightings=[fixed,gradnorm]")
    first = autoloss(*command, "search.n_trials=3")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout.startswith("3 trials in outputs/search/mine")
    assert first.stdout.count(" done: score") == 3
    root = tmp_path / "outputs/search/mine"
    again = autoloss(*command, "search.n_trials=5")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("3 finished, 2 to go")
    assert again.stdout.count(" done: score") == 2
    assert len(budget.counted(study_of(tmp_path))) == 5

    with (root / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert [float(r["score"]) for r in rows if r["candidate"] == "equal"] == [0.0]
    table = (root / "leaderboard.md").read_text()
    assert "| equal |" in table
    assert "Verdict: " in table
    assert any(words in table for words in ("better", "worse", "no difference shown"))
    runs = sorted(root.glob("confirm/*/seed_*/confirmed.json"))
    assert len(runs) >= 4
    assert {path.parent.name for path in runs} == {"seed_10000", "seed_10001"}
    assert not list(root.rglob("*.ckpt"))

    cli = [sys.executable, "-c", "from optuna.cli import main; raise SystemExit(main())", "best-trial"]
    done = subprocess.run(
        [*cli, "--storage", str(root / "study.log"), "--study-name", "autoloss/mine"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "COMPLETE" in done.stdout


def test_best_yaml_trains_what_the_table_names(autoloss, tmp_path):
    command = ("search", *SMALL, *QUIET, "search.weightings=[fixed]", "search.losses.left=[cross_entropy,focal]")
    done = autoloss(
        *command, "search.space.optimizer.lr=interval(1e-3,5e-2)", "search.n_trials=4", "losses.right=focal"
    )
    assert done.returncode == 0, done.stderr
    root = tmp_path / "outputs/search/mine"
    best = study_of(tmp_path).best_trial.user_attrs
    trained = autoloss("train", f"load={root / 'best.yaml'}")
    assert trained.returncode == 0, trained.stderr
    found = json.loads(next((tmp_path / "outputs/train").rglob("summary.json")).read_text())
    config = found["config"]
    plain = best["candidate"]
    assert config["weighting"]["name"] == plain["weighting"]["name"]
    assert config["weighting"].get("weights", {}) == pytest.approx(plain["weighting"].get("weights", {}))
    assert config["optimizer"]["lr"] == pytest.approx(plain["keys"].get("optimizer.lr", 0.012))
    name, numbers = name_and_numbers(plain["losses"].get("left", "cross_entropy"))
    assert config["losses"]["left"]["name"] == name
    assert {key: config["losses"]["left"][key] for key in numbers} == pytest.approx(numbers)
    assert config["losses"]["right"]["name"] == "focal"
    assert (config["problem"]["pairs"], config["trainer"]["max_epochs"]) == (200, 1)
    assert found["metrics"] == pytest.approx(best["metrics"])
    assert found["final_weights"] == pytest.approx(best["final_weights"])


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_with_exactly_the_budget(autoloss, started, tmp_path):
    command = (*SLOW, *QUIET, "search.n_trials=5")
    first = started(*SEARCH, *command)
    until_running(tmp_path, 2, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert len(study_of(tmp_path).get_trials(states=[TrialState.RUNNING])) == 1
    done = autoloss("search", *command)
    assert done.returncode == 0, done.stderr
    assert "2 finished, 3 to go" in done.stdout
    study = study_of(tmp_path)
    assert len(budget.counted(study)) == 5
    assert {t.state for t in budget.counted(study)} == {TrialState.COMPLETE}
    assert [t.user_attrs["again_for"] for t in study.trials if "again_for" in t.user_attrs] == [2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_clusters_signal_ends_it_cleanly_and_it_can_go_on(autoloss, started, tmp_path, number):
    command = (*SLOW, *QUIET, "search.n_trials=3")
    first = started(*SEARCH, *command)
    until_running(tmp_path, 1, first)
    first.send_signal(number)
    assert first.wait(timeout=20) == 0
    said = (tmp_path / "log-0").read_text()
    assert f"stopped by {number.name}; the same command goes on from here." in said
    assert "Traceback" not in said
    study = study_of(tmp_path)
    assert not study.get_trials(states=[TrialState.RUNNING])
    (queued,) = [t for t in study.get_trials(states=[TrialState.WAITING]) if "again_for" in t.user_attrs]
    assert queued.user_attrs["again_for"] == 1
    done = autoloss("search", *command)
    assert done.returncode == 0, done.stderr
    study = study_of(tmp_path)
    assert len(budget.counted(study)) == 3
    assert study.trials[queued.number].state == TrialState.COMPLETE
    assert study.trials[queued.number].params == study.trials[1].params


@pytest.mark.slow
def test_two_workers_share_one_budget_and_end_together(process, tmp_path):
    command = (*SLOW, "search.n_trials=8", "search.workers=2", "search.confirm=1", "search.confirm_seeds=2")
    done = process("search", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = budget.counted(study_of(tmp_path))
    assert len(counted) == 8
    assert len({t.user_attrs["worker"]["pid"] for t in counted}) == 2
    log = (tmp_path / "outputs/search/mine/worker-1.log").read_text()
    assert "done: score" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_signal_reaches_every_worker(started, tmp_path):
    first = started(*SEARCH, *SLOW, *QUIET, "search.n_trials=50", "search.workers=2")
    until_running(tmp_path, 1, first)
    log = tmp_path / "outputs/search/mine/worker-1.log"
    while "done: score" not in log.read_text():
        assert first.poll() is None
        time.sleep(0.05)
    first.terminate()
    assert first.wait(timeout=30) == 0
    assert not study_of(tmp_path).get_trials(states=[TrialState.RUNNING])
    assert "stopped by SIGTERM" in log.read_text()


@pytest.mark.parametrize(("weightings", "code"), [("mine:Broken", 1), ("mine:Broken,dwa", 0)])
def test_a_failed_trial_is_listed(autoloss, tmp_path, weightings, code):
    (tmp_path / "mine.py").write_text(
        "from autoloss.core.weighting import Weighting\n"
        "class Broken(Weighting):\n"
        "    def forward(self, signals):\n        raise OSError('disk on fire')\n"
        "    def update(self, signals):\n        pass\n"
    )
    done = autoloss("search", *SMALL, *QUIET, f"search.weightings=[{weightings}]", "search.n_trials=3")
    # Without a trial that finishes, beside equal weights, the search failed.
    assert done.returncode == code, done.stderr
    assert ("all 2 beside equal weights failed: OSError: disk on fire" in done.stderr) == (code == 1)
    assert "failed: trial 1: OSError: disk on fire" in done.stdout
    root = tmp_path / "outputs/search/mine"
    assert "disk on fire" in (root / "leaderboard.md").read_text()
    assert (root / "leaderboard.csv").read_text().count("disk on fire") == 1 + code


def test_folds_and_several_objectives(autoloss, tmp_path):
    done = autoloss("search", *SMALL, *QUIET, "search.folds=3", "search.pruner=wilcoxon", "search.n_trials=2")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "outputs/search/mine/trials/0000-equal").glob("fold_*/summary.json"))) == 3
    both = ("search.objectives=[left_error,pixels_mse]", "name=both", "search.sampler=nsga2")
    done = autoloss("search", *SMALL[:2], *both, "search.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "best.yaml" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("search.sampler=tpee", "tpee'. "),
        ("search.pruner=medain", "medain'. "),
        ("search.weightings=[]", "A search must have something to choose"),
        ("search.weightings=[equal]", "A search must have something to choose"),
        ("search.weightings=[gradnrom]", "No weighting is called 'gradnrom'. Did you mean 'gradnorm'?"),
        ("search.objectives=[accuracy]", "there is no metric 'accuracy'"),
        ("search.objectives=[score,left_error] search.pruner=median", "Pruning needs one objective, but there are 2."),
        ("trainer.strategy=ddp trainer.devices=2", "A search's trials must run on one device"),
        ("trainer.devices=2", "A search's trials must run on one device"),
        ("search.storage=postgresql://me:secret@localhost:1/none", "search.storage must answer, but"),
        ("search.storage=nonsense", "search.storage must answer, but"),
        ("search.timeout=soon", "search.timeout must be a time such as 90s, 10m or 2h, but it is 'soon'."),
        ("search.n_trials=0", "search.n_trials must be at least 1"),
        ("search.workers=0", "search.workers must be at least 1"),
        ("search.confirm_seeds=1", "search.confirm_seeds must be at least 2"),
        ("search.losses.lft=[focal]", "No loss is called 'lft'. Did you mean 'left'?"),
        ("search.losses.left=[focal,[cross_entropy,dise]]", "No loss is called 'dise'. Did you mean 'dice'?"),
        ("search.losses.left=[focl]", "No loss is called 'focl'. Did you mean 'focal'?"),
        ("search.space.optimizer.lrr=interval(1,2)", "No key is called 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
        ("search.space.optimizer.lr=0.1", "search.space.optimizer.lr must be interval(...), choice(...) or range(...)"),
        ("search.space.optimizer.lr=interval(2,1)", "low < high must hold"),
        ("search.pruner=wilcoxon", "The Wilcoxon pruner compares folds"),
        ("batch_size=0", "batch_size must be at least 1"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(mistaken, tmp_path, arguments, says):
    code, out, err = mistaken(f"search {arguments}")
    assert says in err
    assert code == 2
    assert err.startswith("autoloss: ")
    assert err.count("\n") == 1, err
    assert out == ""
    assert not list(tmp_path.rglob("trajectory.csv"))
    assert "secret" not in err


def test_another_problem_under_the_same_name_is_refused(autoloss, tmp_path):
    assert autoloss("search", *SMALL, *QUIET, "search.n_trials=1").returncode == 0
    done = autoloss("search", "problem.pairs=300", *SMALL[1:], *QUIET, "search.n_trials=2")
    assert done.returncode == 2
    assert (
        "has problem.pairs=200 and not 300. Give this search another name=, or start again with fresh=true."
        in done.stderr
    )
    assert done.stderr.count("\n") == 1
    anew = autoloss("search", "problem.pairs=300", *SMALL[1:], *QUIET, "search.n_trials=1", "fresh=true")
    assert anew.returncode == 0, anew.stderr
    assert len(study_of(tmp_path).trials) == 1


def test_equal_weights_that_fail_end_it_with_a_sentence(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Bad(TwoDigits):\n    def datasets(self, seed):\n        raise OSError('disk on fire')\n"
    )
    done = autoloss("search", "problem=mine:Bad", "search.n_trials=2")
    assert done.returncode == 2
    assert done.stderr == "autoloss: The equal-weights run must finish, but it failed: OSError: disk on fire\n"

"""No run is written over by another one: each command line that would do it is refused before anything is trained."""

import json
from pathlib import Path

import pytest

SMALL = ("problem.pairs=200", "trainer.max_epochs=1", "checkpoint.every=0")
TWO = "problem=two_digits,noisy_digits"
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1")
QUICK_SEARCH = ("search.n_trials=2", "search.weightings=[fixed]", "search.confirm=0")


def content(directory):
    """Every file under ``directory`` with what it holds."""
    files = sorted(path for path in Path(directory).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def ran(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", [("name=s",), ()])
def test_a_sweep_over_problems_has_a_directory_for_each(autoloss, tmp_path, name):
    ran(autoloss("train", "-m", TWO, "weighting=equal", *SHORT, *name))
    found = [json.loads(path.read_text())["problem"] for path in tmp_path.rglob("summary.json")]
    assert sorted(found) == ["noisy_digits", "two_digits"]
    board = next(tmp_path.rglob("leaderboard.md")).read_text()
    assert "two_digits" in board
    assert "noisy_digits" in board


def test_a_comparison_over_problems_has_a_directory_for_each(autoloss, tmp_path):
    problems = "class One(TwoDigits):\n    pass\nclass Two(TwoDigits):\n    pass\n"
    (tmp_path / "mine.py").write_text(f"from autoloss.problems.two_digits import TwoDigits\n{problems}")
    ran(autoloss("compare", "problem=mine:One,mine:Two", "compare.seeds=1", *SHORT))
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_a_sweep_over_values_of_other_scripts_or_over_names_loses_none(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss.problems.two_digits import TwoDigits\n"
        "class Mine(TwoDigits):\n"
        "    def __init__(self, pairs: int = 200, note: str = ''):\n        super().__init__(pairs)\n"
    )
    ran(autoloss("train", "-m", "problem=mine:Mine", "problem.note='日本','中国','a/b','a b'", *SHORT, "name=s"))
    assert len(list(tmp_path.rglob("summary.json"))) == 4
    ran(autoloss("train", "-m", "name=one,two", *SMALL))
    assert len(list((tmp_path / "outputs/train/one_two").glob("*/summary.json"))) == 2


def test_two_jobs_with_one_directory_are_refused(autoloss, tmp_path):
    done = ran(autoloss("train", "-m", "seed=0,1", "hydra.sweep.dir=s", "hydra.sweep.subdir=one", *SMALL), 2)
    assert "Each job of a sweep must have a directory of its own" in done.stderr
    assert "seed=0" in done.stderr
    assert "seed=1" in done.stderr
    assert list(tmp_path.iterdir()) == []
    ran(autoloss("train", "-m", "seed=0,1", "hydra.sweep.dir=s", "hydra.sweep.subdir=at_${seed}", *SMALL))
    assert sorted(path.parent.name for path in tmp_path.rglob("summary.json")) == ["at_0", "at_1"]


@pytest.fixture
def full(autoloss, tmp_path):
    """A directory with a finished run, sweep, search, comparison and diagnosis, each as ``full/VERB``."""
    ran(autoloss("train", "hydra.run.dir=full/run", *SMALL))
    ran(autoloss("train", "-m", "seed=0,1", "hydra.sweep.dir=full/sweep", *SMALL))
    ran(autoloss("search", "hydra.run.dir=full/search", *QUICK_SEARCH, *SMALL))
    ran(autoloss("compare", "weighting=equal,dwa", "compare.seeds=1", "hydra.run.dir=full/compare", *SMALL))
    ran(autoloss("diagnose", "diagnose.runs=1", "diagnose.lookahead=false", "hydra.run.dir=full/diagnose", *SMALL))
    return tmp_path / "full"


COMMANDS = {
    "run": ("train", "hydra.run.dir={}", *SMALL),
    "sweep": ("train", "-m", "seed=0,1", "hydra.sweep.dir={}", *SMALL),
    "search": ("search", "hydra.run.dir={}", *QUICK_SEARCH, *SMALL),
    "compare": ("compare", "weighting=equal,dwa", "compare.seeds=1", "hydra.run.dir={}", *SMALL),
    "compare_as_a_sweep": ("compare", "weighting=equal,dwa", "compare.seeds=1", "hydra.sweep.dir={}", *SMALL),
    "diagnose": ("diagnose", "hydra.run.dir={}", *SMALL),
    "meta": ("meta", "problems=[two_digits]", "hydra.run.dir={}", *SHORT),
}


def test_no_verb_writes_into_what_another_one_left_nor_over_another_configuration(autoloss, full):
    before = content(full)
    for kind, command in COMMANDS.items():
        for place in ("run", "sweep", "search", "compare", "diagnose"):
            # The same kind with another configuration; without `lr`, meta has none of its own here.
            words = [one.format(full / place) for one in command]
            if kind.split("_")[0] == place:
                words.append("optimizer.lr=0.5")
            done = autoloss(*words)
            told = f"{kind} in {place}: {done.returncode} {done.stdout} {done.stderr}"
            assert done.returncode == 2, told
            assert done.stderr.startswith("autoloss: "), told
            assert done.stderr.count("\n") == 1 or "fresh=true" in done.stderr, told
            changed = {path for path, of in content(full).items() if before.get(path) != of}
            assert changed == set(), told
            assert set(before) == set(content(full)), told


def test_a_run_of_another_configuration_is_replaced_only_on_demand(autoloss, tmp_path):
    ran(autoloss("train", "hydra.run.dir=one", *SMALL))
    first = content(tmp_path)
    done = ran(autoloss("train", "hydra.run.dir=one", "problem=noisy_digits", *SHORT), 2)
    assert "holds one with problem." in done.stderr
    assert "fresh=true" in done.stderr
    (tmp_path / "outputs/train/one").mkdir(parents=True)
    (tmp_path / "one").rename(tmp_path / "outputs/train/one/001")
    (tmp_path / "outputs/train/one/001/checkpoints").mkdir()
    (tmp_path / "outputs/train/one/001/checkpoints/last.ckpt").touch()
    first = content(tmp_path)
    done = ran(autoloss("train", "name=one", "problem=noisy_digits", "ckpt=last"), 2)
    assert "problem=two_digits (now noisy_digits)" in done.stderr
    assert content(tmp_path) == first
    again = "outputs/train/one/001"
    ran(autoloss("train", f"hydra.run.dir={again}", "weighting=dwa", "fresh=true", *SMALL))
    assert json.loads((tmp_path / again / "summary.json").read_text())["weighting"] == "dwa"


def test_the_same_name_for_another_problem_keeps_the_finished_runs(autoloss, tmp_path):
    ran(autoloss("train", "-m", "seed=0,1", "name=s", *SHORT))
    first = content(tmp_path)
    done = ran(autoloss("train", "-m", "seed=0,1", "name=s", "problem=noisy_digits", *SHORT), 2)
    assert "must not be written over" in done.stderr
    assert content(tmp_path) == first
    # Single runs are numbered.
    for problem in ("two_digits", "noisy_digits"):
        ran(autoloss("train", "name=t", f"problem={problem}", *SHORT))
    found = {
        p.parent.name: json.loads(p.read_text())["problem"] for p in tmp_path.glob("outputs/train/t/*/summary.json")
    }
    assert found == {"001": "two_digits", "002": "noisy_digits"}
    # A sweep with the test split trains the same again.
    ran(autoloss("train", "-m", "seed=0,1", "name=s", "test=true", *SHORT))
    assert "test_metrics" in next(tmp_path.glob("outputs/train/s/*/summary.json")).read_text()


def test_another_sweeper_writes_over_nothing(autoloss, tmp_path):
    sweep = ("train", "-m", "hydra/sweeper=autoloss", "hydra.sweeper.n_trials=2", "weighting=equal,dwa", *SMALL)
    ran(autoloss("search", "hydra.run.dir=found", *QUICK_SEARCH, *SMALL))
    first = content(tmp_path)
    ran(autoloss(*sweep, "hydra.sweep.dir=found"), 2)
    ran(autoloss(*sweep, "hydra.sweep.dir=new/one", "hydra.sweeper.metric=nothing"), 2)
    assert content(tmp_path) == first
    assert not (tmp_path / "new").exists()


def test_a_diagnosis_empties_no_directory_of_others(autoloss, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    done = ran(autoloss("diagnose", "hydra.run.dir=mine", *SMALL), 2)
    assert "holds other files" in done.stderr
    assert (tmp_path / "mine/thesis.tex").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train hydra.sweep.dir=s", "hydra.sweep.dir is the directory of a sweep, but this is one run."),
        ("train -m seed=0,1 hydra.run.dir=s", "A sweep's directory is hydra.sweep.dir, but hydra.run.dir was given."),
        ("compare weighting=equal,dwa hydra.run.dir=a hydra.sweep.dir=b", "two were given: a and b"),
        (f"train name={'n' * 300}", "name must be at most 255 bytes long"),
        (f"search name={'n' * 300}", "name must be at most 255 bytes long"),
        (f"compare weighting=equal,dwa name={'n' * 300}", "name must be at most 255 bytes long"),
        (f"diagnose name={'n' * 300}", "name must be at most 255 bytes long"),
        (f"meta problems=[two_digits] name={'n' * 300}", "name must be at most 255 bytes long"),
    ],
)
def test_mistakes(mistaken, tmp_path, line, says):
    code, _, err = mistaken(line)
    assert (code, err.count("\n")) == (2, 1)
    assert says in err
    assert list(tmp_path.iterdir()) == []

"""What befalls a process: each verb x each fault, with real processes.

Nothing is lost, nothing is left running, the budget is exact, one sentence says what happened, the exit code is right.
"""

import csv
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.study import open_storage
from tests import processes

HERE = Path(__file__).parent
SCRIPT = HERE / "misbehaving_script.py"
SMALL = ("problem=misbehaving:Misbehaving", "trainer.max_epochs=3", "record.every=1")
VERBS = {
    "train": ("train", *SMALL, "weighting=equal", "ckpt=last", "hydra.run.dir=out"),
    "sweep": ("train", "-m", *SMALL, "weighting=equal", "seed=0,1", "hydra.sweep.dir=out"),
    "compare": ("compare", *SMALL, "weighting=equal,dwa", "compare.seeds=1", "hydra.run.dir=out"),
    "search": (
        *("search", *SMALL, "search.weightings=[fixed]", "search.n_trials=6", "search.workers=3", "search.confirm=0"),
        "hydra.run.dir=out",
    ),
}
RUNS = {"train": ["."], "sweep": ["seed_0", "seed_1"], "compare": ["equal/seed_0", "dwa/seed_0"]}
EXITS = r"misbehaving.py, line \d+, calls sys.exit\(7\)"
INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


@dataclass(frozen=True)
class Fault:
    """What the training does at its fifth step, which signals then come, how the command ends, and what it says."""

    does: str
    signals: tuple[int, ...]
    code: int
    says: str = ""
    whom: str = "any"
    lists: str = ""  # the error with which the run is listed, where it failed

    @property
    def fails(self):
        return bool(self.lists)


OUTSIDE = {
    "SIGKILL": Fault("slow", (KILL,), -9),
    "SIGTERM": Fault("slow", (TERM,), 0, "stopped by SIGTERM"),
    "two Ctrl-C": Fault("hang", (INT, INT), 130, "stopped by SIGINT|autoloss: interrupted"),
    "hang": Fault("hang", (TERM, TERM), 0, "stopped by SIGTERM"),
    "hang in foreign code": Fault("deadlock", (TERM, TERM), 128 + 15, "this process did not stop, and was ended"),
}
INSIDE = {
    "segfault": Fault("segfault", (), -11),
    "out of memory, killed": Fault("killed", (), -9),
    "out of memory in torch": Fault("memory", (), 1, "autoloss: RuntimeError: .*alloc", lists="alloc"),
    "out of memory in Python": Fault("bytes_", (), 1, "autoloss: MemoryError", lists="MemoryError"),
    "sys.exit": Fault("exits", (), 1, EXITS, lists=EXITS),
}
# The search itself goes on where a worker is hit, and says so.
WORKER = {
    "SIGKILL": Fault("slow", (KILL,), 0, "trial .: its process was killed by SIGKILL", "worker"),
    "SIGTERM": Fault("slow", (TERM,), 0, "", "worker"),
    "segfault": Fault("segfault", (), 0, "its process was killed by SIGSEGV, and it runs once more", "worker"),
    "out of memory, killed": Fault("killed", (), 0, "was killed by SIGKILL .as when memory runs out", "worker"),
    "out of memory in torch": Fault("memory", (), 0, "failed: trial .: RuntimeError", "second", "alloc"),
    "sys.exit": Fault("exits", (), 0, "failed: trial .: A training must end", "second", EXITS),
}
ROWS = [
    *((verb, name, fault) for verb in RUNS for name, fault in {**OUTSIDE, **INSIDE}.items()),
    *(("search", f"main, {name}", fault) for name, fault in OUTSIDE.items()),
    *(("search", f"worker, {name}", fault) for name, fault in WORKER.items()),
]
FAST = {("train", "sys.exit"), ("train", "two Ctrl-C")}


class Command:
    """Starts the command in ``directory``, and knows every process that comes from it."""

    def __init__(self, directory):
        self.directory, self.log, self.seen, self.started = directory, directory / "log", set(), []

    def start(self, *arguments):
        self.log.write_text("")
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        process = processes.start(SCRIPT, arguments, self.log, {"PYTHONPATH": path})
        self.started.append(process)
        return process

    def look(self):
        for process in self.started:
            try:
                self.seen |= set(psutil.Process(process.pid).children(recursive=True))
            except psutil.NoSuchProcess:
                continue

    def wait(self, process, timeout=150):
        deadline = time.monotonic() + timeout
        while process.is_alive():
            assert time.monotonic() < deadline, self.said()
            self.look()
            process.join(0.1)
        return process.exitcode

    def until(self, file, process, timeout=120):
        deadline = time.monotonic() + timeout
        while not file.exists() or not file.read_text():
            assert process.is_alive(), self.said()
            assert time.monotonic() < deadline, self.said()
            self.look()
            time.sleep(0.05)

    def said(self):
        return self.log.read_text()

    def left(self, timeout=20):
        """The processes that are still there after ``timeout``."""
        return psutil.wait_procs(self.seen, timeout)[1]

    def end(self):
        processes.kill(self.started)
        for process in self.left(0):
            process.kill()


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Command(tmp_path)
    yield made
    made.end()


def study():
    return optuna.load_study(study_name=None, storage=open_storage(None, Path("out")))


def nothing_is_lost(verb, fault):
    """Every run is finished and has every step; a study has exactly its budget."""
    for run in RUNS.get(verb, []):
        summary = json.loads((Path("out") / run / "summary.json").read_text())
        assert (summary["state"], summary["steps"]) == ("finished", 12)
        with (Path("out") / run / "trajectory.csv").open(newline="") as file:
            assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(12))
        assert not (Path("out") / run / "failed.json").exists()
    if verb == "search":
        counted = budget.counted(study())
        assert len(counted) == 6
        assert [t.state for t in counted].count(TrialState.COMPLETE) == (5 if fault.fails else 6)
        assert not study().get_trials(states=[TrialState.RUNNING])
        assert len(Path("out/leaderboard.csv").read_text().splitlines()) == 7


def again(verb):
    """The same command, which goes on; a search in one process, since starting more takes longest."""
    return [one.replace("workers=3", "workers=1") for one in VERBS[verb]]


def listed(verb, fault):
    """The run that failed is known as failed, with its error."""
    if verb == "search":
        errors = [t.user_attrs["error"] for t in budget.counted(study()) if t.state == TrialState.FAIL]
    else:
        errors = [json.loads(one.read_text())["error"] for one in Path("out").rglob("failed.json")]
    assert len(errors) == 1
    assert re.search(fault.lists, errors[0])


@pytest.mark.parametrize(
    ("verb", "name", "fault"),
    [pytest.param(*row, id=f"{row[0]}: {row[1]}", marks=() if row[:2] in FAST else pytest.mark.slow) for row in ROWS],
)
def test_a_fault(command, verb, name, fault):
    Path("armed").write_text(f"{fault.does} {'main' if name.startswith('main') else fault.whom}")
    process = command.start(*VERBS[verb])
    if fault.signals:
        command.until(Path("reached"), process)
        number = int(Path("reached").read_text()) if fault.whom == "worker" else process.pid
        for one in fault.signals:
            os.kill(number, one)
            time.sleep(1.2)
    assert command.wait(process) == fault.code, command.said()
    assert re.search(fault.says, command.said()), command.said()
    assert command.said().count("Traceback") == 0 or fault.does in ("memory", "bytes_")
    assert command.left() == []
    assert not list(Path().rglob(".*.new"))
    if fault.fails:
        listed(verb, fault)
    if fault.whom != "worker" and (fault.code or fault.signals):
        assert command.wait(command.start(*again(verb))) == 0, command.said()
    nothing_is_lost(verb, fault)
    assert command.left() == []


@pytest.mark.slow
def test_workers_end_with_a_main_process_that_dies_while_they_start(command):
    process = command.start(*VERBS["search"])
    while len(command.seen) < 2:
        assert process.is_alive(), command.said()
        command.look()
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    process.join()
    assert command.left(timeout=10) == []
    assert command.wait(command.start(*again("search"))) == 0, command.said()
    nothing_is_lost("search", INSIDE["segfault"])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_a_candidate_that_kills_its_process_fails_the_second_time(command, workers):
    poison = ("search.weightings=[equal]", "search.space.problem.poison=choice(0,1)", "search.sampler=grid")
    more = ("problem.fault=segfault", f"search.workers={workers}", "search.n_trials=3")
    arguments = (*VERBS["search"], *poison, *more)
    codes = [command.wait(command.start(*arguments))]
    while codes[-1]:
        # The main process itself was hit: the user starts the search again.
        assert codes[-1] == -11, command.said()
        assert len(codes) < 3, command.said()
        codes.append(command.wait(command.start(*arguments)))
    if workers == 1:
        assert codes == [-11, -11, 0]
        assert "must end with a result, but its process died (it crashed, was killed, or memory" in command.said()
    counted = budget.counted(study())
    assert len(counted) == 3
    poisoned = [t for t in counted if t.params.get("problem.poison") == 1]
    assert [t.state for t in counted if t not in poisoned] == [TrialState.COMPLETE] * (3 - len(poisoned))
    assert [t.state for t in poisoned] == [TrialState.FAIL] * len(poisoned)
    assert poisoned
    assert all("must end with a result, but its process" in t.user_attrs["error"] for t in poisoned)
    assert "must end with a result" in Path("out/leaderboard.csv").read_text()
    assert command.left() == []


@pytest.mark.slow
@pytest.mark.parametrize(("whom", "does"), [("worker", "hang"), ("worker", "deadlock"), ("main", "hang")])
def test_a_trial_that_hangs_does_not_hold_up_the_timeout(command, whom, does):
    Path("armed").write_text(f"{does} late worker" if whom == "worker" else "hang second")
    # A worker begins later, after it has imported everything.
    timeout, workers = (40, 2) if whom == "worker" else (15, 1)
    more = ("search.n_trials=1000", f"search.timeout={timeout}s", f"search.workers={workers}")
    # As long as the longest trial lasts three times, where a machine is slow.
    assert command.wait(command.start(*VERBS["search"], *more), timeout=300) == 0, command.said()
    assert re.search(r"its process gave no result \d+ s after search.timeout, and it runs once more", command.said())
    assert "Traceback" not in command.said()
    assert command.left() == []
    assert not study().get_trials(states=[TrialState.RUNNING])
    (again,) = [t for t in study().get_trials(states=[TrialState.WAITING]) if "again_for" in t.user_attrs]
    assert study().trials[again.user_attrs["again_for"]].user_attrs["left_out"] == "killed"

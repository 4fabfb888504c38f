"""Exactly n trials: with threads, with processes, and when one of them is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autoloss.search import budget, heartbeat
from autoloss.search.confirm import chosen
from autoloss.search.heartbeat import WorkerWatch, send_heartbeats, this_worker
from autoloss.search.study import open_storage, open_study
from tests import processes

WORKER = Path(__file__).with_name("worker_script.py")
GONE = {"host": this_worker()["host"], "pid": 2**22 + 1, "born": 1.0}
ELSEWHERE = {"host": "another", "pid": 1, "born": 1.0}


@pytest.fixture
def worker(tmp_path):
    """Starts a worker process in ``tmp_path``."""
    started = []

    def start(n_trials, seconds=0.05, storage="-"):
        arguments = [str(tmp_path), str(n_trials), str(seconds), storage]
        started.append(processes.start(WORKER, arguments, tmp_path / "log"))
        return started[-1]

    yield start
    processes.kill(started)


def opened(tmp_path, storage=None):
    from autoloss.search.samplers import build_pruner

    return open_study(
        open_storage(storage, tmp_path), "autoloss", {}, ["maximize"], build_pruner({"name": "none"}, 1, 0)
    )


def check(study, n_trials):
    """Exactly ``n_trials`` finished, nothing left running, each purpose served once, each kill made good once."""
    done = budget.counted(study)
    assert len(done) == n_trials
    assert {t.state for t in done} == {TrialState.COMPLETE}
    assert not study.get_trials(states=[TrialState.RUNNING])
    assert sum(t.user_attrs.get("baseline", False) for t in done) == 1
    offered = Counter(t.user_attrs["offered"] for t in done if "offered" in t.user_attrs)
    assert set(offered.values()) <= {1}
    killed = [t.number for t in study.trials if t.user_attrs.get("left_out") == "killed"]
    assert sorted(t.user_attrs["again_for"] for t in study.trials if "again_for" in t.user_attrs) == killed


@pytest.mark.parametrize("n_trials", [1, 3, 17])
def test_the_budget_is_exact_with_threads(begin, instant, n_trials):
    searches = [begin(n_trials, instant(lambda candidate, seed: time.sleep(0.005) or 1.0)) for _ in range(4)]
    searches[0].plan()
    threads = [threading.Thread(target=search.work) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check(searches[0].study, n_trials)


@pytest.mark.slow
def test_the_budget_is_exact_with_processes_that_begin_at_once(worker, tmp_path):
    processes.wait([worker(12) for _ in range(2)], tmp_path / "log", timeout=60)
    study = opened(tmp_path)
    check(study, 12)
    assert len({t.user_attrs["worker"]["pid"] for t in budget.counted(study)}) == 2


@pytest.mark.parametrize("equal", [True, False])
def test_a_trial_of_a_worker_killed_with_sigkill_is_run_by_another_exactly_once(worker, tmp_path, equal):
    first = worker(6, seconds=30 if equal else 0.4)
    study, running = opened(tmp_path), []
    while not running:
        time.sleep(0.02)
        running = [
            t
            for t in study.get_trials(states=[TrialState.RUNNING])
            if "label" in t.user_attrs and t.number >= (not equal)
        ]
    os.kill(first.pid, signal.SIGKILL)
    processes.wait([worker(6) for _ in range(2)], tmp_path / "log", timeout=60)
    check(study, 6)
    killed = running[0].number
    (again,) = [t for t in study.trials if t.user_attrs.get("again_for") == killed]
    assert study.trials[killed].user_attrs["left_out"] == "killed"
    assert again.params == study.trials[killed].params
    # Of equal weights a starting worker may queue a run of its own at that very moment: one of the two is run.
    same = [t for t in study.trials if (t.user_attrs.get("baseline") if equal else t.number == again.number)]
    assert [t.state for t in same].count(TrialState.COMPLETE) == 1
    assert chosen(study, 1)[0][1].weighting == {"name": "equal"}


def test_a_running_trial_of_a_dead_process_is_queued_again_once_however_many_look(begin):
    search = begin()
    search.plan()
    trial = budget.ask(search.study, 8)
    watch = WorkerWatch()
    assert budget.requeue_dead(search.study, watch) == 0
    trial.set_user_attr("worker", GONE)
    others = [begin() for _ in range(4)]
    found = []
    threads = [
        threading.Thread(target=lambda s=s: found.append(budget.requeue_dead(s.study, WorkerWatch()))) for s in others
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 0, 0, 1]
    waiting = search.study.get_trials(states=[TrialState.WAITING])
    assert [t.user_attrs for t in waiting] == [{"baseline": True, "again_for": 0}]


@pytest.mark.parametrize("ends", [[-11, -11], [-9, 7]])
def test_a_trial_whose_process_dies_twice_has_failed(begin, ends):
    """However often others look, and whatever was stopped in between."""
    search = begin(4)
    search.plan()
    search._run([budget.ask(search.study, 4)])
    for code in ends:
        trial = budget.ask(search.study, 4)
        search.space.suggest(trial)
        budget.give_back(search.study, trial)  # stopped by a person: it did not die
        trial = budget.ask(search.study, 4)
        search.space.suggest(trial)
        child = subprocess.Popen([sys.executable, "-c", "input()" if code < 0 else "raise SystemExit(7)"], stdin=-1)
        trial.set_user_attr("worker", {**this_worker(), "pid": child.pid, "born": 1.0})
        if code < 0:
            child.send_signal(-code)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert budget.requeue_dead(search.study, WorkerWatch()) == 1
        assert budget.requeue_dead(search.study, WorkerWatch()) == 0
        child.communicate()
    search.work()
    done = budget.counted(search.study)
    assert len(done) == 4
    (failed,) = [t for t in done if t.state == TrialState.FAIL]
    says = {-11: "was killed by SIGSEGV, twice.", -9: "(as when memory runs out), and then ended with exit code 7."}
    assert failed.user_attrs["error"].endswith(says[ends[0]] if sys.platform == "linux" else ".")
    assert failed.number == trial.number


def test_a_process_number_that_is_used_again_is_another_process(begin):
    search = begin()
    search.plan()
    budget.ask(search.study, 8).set_user_attr("worker", {**this_worker(), "born": -1.0})
    assert budget.requeue_dead(search.study, WorkerWatch()) == 1


def test_a_worker_lives_until_its_process_is_a_zombie(begin):
    search = begin()
    search.plan()
    trial = budget.ask(search.study, 8)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    trial.set_user_attr("worker", {**this_worker(), "pid": child.pid, "born": heartbeat._started(child.pid)})
    assert budget.requeue_dead(search.study, WorkerWatch()) == 0
    child.kill()
    # Not waited for, so that the process stays a zombie.
    deadline = time.monotonic() + 10
    while not budget.requeue_dead(search.study, WorkerWatch()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.communicate()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux has /proc")
def test_a_process_began_when_0_1_0_said_so():
    assert this_worker()["born"] == float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


def test_a_container_with_the_same_host_name_is_another_host(monkeypatch):
    here = this_worker()["host"]
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[1]")
    assert this_worker()["host"] != here


@pytest.mark.parametrize("who", [ELSEWHERE, None], ids=["another host", "not yet signed"])
def test_a_worker_that_cannot_be_seen_is_dead_when_its_heartbeats_end(begin, who):
    search = begin()
    search.plan()
    trial = search.study.ask()
    watch = WorkerWatch(grace=0.3)
    if who:
        trial.set_user_attr("worker", who)
    with send_heartbeats(search.study, trial, every=0.05):
        for _ in range(12):
            assert budget.requeue_dead(search.study, watch) == 0
            time.sleep(0.05)
    deadline = time.monotonic() + 5
    while not budget.requeue_dead(search.study, watch):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert search.study.trials[0].user_attrs["left_out"] == "killed"


def test_a_worker_taken_for_dead_lets_go_of_its_trial(begin, instant):
    lines = []
    search = begin(3, instant(), says=lines.append)

    def run(candidate, seed):
        if len(search.runner.calls) == 2:
            assert budget.give_back(search.study, search.study.trials[-1])
        return 1.0

    search.runner.error = run
    search.plan()
    search.work()
    check(search.study, 3)
    assert sum("heartbeat was missing" in line for line in lines) == 1


def test_what_is_drawn_beyond_the_budget_is_given_back(begin, monkeypatch):
    study = begin().study
    for _ in range(2):
        assert budget.ask(study, 2) is not None
    looks = iter([False, True])
    # Between this worker's look and its draw the others were faster.
    monkeypatch.setattr(budget, "spent", lambda study, budget: next(looks))
    assert budget.ask(study, 2) is None
    late = study.trials[2]
    assert (late.state, late.user_attrs["left_out"]) == (TrialState.FAIL, "surplus")
    assert late not in budget.counted(study)


def test_what_two_workers_queued_is_run_once(begin, monkeypatch):
    searches = [begin(), begin()]
    monkeypatch.setattr(budget, "kept", lambda study: [])  # neither sees what the other queues
    for search in searches:
        search.plan([{"weighting": "dwa"}, {"weighting": "gradnorm", "gradnorm.alpha": 1.0}])
    monkeypatch.undo()
    searches[1].work()
    study = searches[1].study
    check(study, 8)
    planned = [t.user_attrs["planned"] for t in budget.counted(study) if "planned" in t.user_attrs]
    assert planned == [0, 1]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_worker_that_is_stopped_gives_back_what_it_was_running(begin, instant, stop):
    def run(candidate, seed):
        if len(runner.calls) == 3:
            raise stop
        return 1.0

    runner = instant(run)
    search = begin(6, runner)
    search.plan()
    with pytest.raises(stop):
        search.work()
    assert not search.study.get_trials(states=[TrialState.RUNNING])
    second = begin(6)
    second.plan()
    second.work()
    check(second.study, 6)

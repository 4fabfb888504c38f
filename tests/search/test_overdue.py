"""Trials that go on long after the timeout."""

import time

import pytest
from optuna.trial import TrialState

from autoloss.app.signal_handlers import stopping
from autoloss.search import budget, overdue
from autoloss.search.heartbeat import this_worker


def test_a_trial_has_the_longest_times_some_and_for_ever_while_none_is_finished(finish, begin):
    assert overdue.patience(begin().study) is None
    study = finish(3)
    assert overdue.patience(study) == overdue.LEAST
    study.get_trials(deepcopy=False)[1].user_attrs["seconds"] = 100.0
    assert overdue.patience(study) == 300.0


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(overdue, "LEAST", 0.3)


def test_a_trial_that_hangs_here_is_cut_and_counts_as_a_death(begin, instant, impatient):
    lines = []

    def run(candidate, seed):
        if len(runner.calls) == 2:
            time.sleep(60)
        return 1.0

    runner = instant(run)
    search = begin(50, runner, timeout=0.5, says=lines.append)
    search.plan()
    started = time.monotonic()
    with stopping():
        search.work()
    assert time.monotonic() - started < 20
    assert not search.study.get_trials(states=[TrialState.RUNNING])
    (line,) = [line for line in lines if "search.timeout" in line]
    assert line == "trial 1: its process gave no result 0 s after search.timeout, and it runs once more"
    again = begin(2)
    again.plan()
    again.work()
    assert [t.state for t in budget.counted(again.study)] == [TrialState.COMPLETE] * 2


def test_a_worker_that_hangs_is_ended_by_the_process_that_started_it(begin, impatient):
    search, ended = begin(50, timeout=0.2), []
    search.plan()
    search._run([budget.ask(search.study, 50)])
    hung = budget.ask(search.study, 50)
    search.space.suggest(hung)
    search.overdue.ends = ended.extend
    time.sleep(0.2)
    search.work()
    assert ended == [this_worker()["pid"]]
    assert search.study.trials[hung.number].user_attrs["left_out"] == "killed"
    assert not search.study.get_trials(states=[TrialState.RUNNING])

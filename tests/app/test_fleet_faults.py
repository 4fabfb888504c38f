"""What happens to the members of a fleet whose process dies, with real processes."""

import os
import signal
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from autoloss.search import budget
from tests.app.test_fault_table import SMALL, command, study

KILLER = '''
import os, signal
from autoloss.core.weighting import Weighting

class Killer(Weighting):
    """Kills its process."""

    def forward(self, signals):
        os.kill(os.getpid(), signal.SIGKILL)
'''
SEARCH = ("search", *SMALL, "search.confirm=0", "search.n_trials=6", "hydra.run.dir=out")

__all__ = ["command"]  # a fixture


def finished():
    """When each trial was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path("out/trials").glob("*/summary.json")}


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("search.fleet=4",), ("search.workers=2",)])
def test_a_killed_fleet_is_gone_on_with_and_the_budget_is_exact(command, how):
    Path("armed").write_text("killed second")
    arguments = (*SEARCH, "search.weightings=[fixed,dwa]", *how)
    assert command.wait(command.start(*arguments)) == -signal.SIGKILL, command.said()
    before = finished()
    assert set(before) >= {"0000"}
    assert how == ("search.workers=2",) or set(before) == {"0000"}
    assert command.wait(command.start(*arguments)) == 0, command.said()
    counted = budget.counted(study())
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * 6
    assert finished().items() >= before.items()
    assert command.left() == []


@pytest.mark.slow
def test_a_confirmation_that_is_killed_trains_no_finished_run_twice(command):
    arguments = ("search", *SMALL, "search.n_trials=2", "search.weightings=[dwa]", "hydra.run.dir=out")
    arguments += ("search.confirm=1", "search.confirm_seeds=3", "search.fleet=2", "trainer.max_epochs=20")

    def confirmed():
        return {path: path.stat().st_mtime_ns for path in Path("out/confirm").glob("*/*/confirmed.json")}

    process = command.start(*arguments)
    until = time.monotonic() + 300
    while not confirmed() and process.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.join()
    before = confirmed()
    assert 0 < len(before) < 6, command.said()
    assert command.wait(command.start(*arguments)) == 0, command.said()
    assert len(confirmed()) == 6
    assert confirmed().items() >= before.items()


@pytest.mark.slow
def test_a_member_that_kills_its_process_fails_alone(command):
    Path("killer.py").write_text(KILLER)
    arguments = (*SEARCH, "search.weightings=[dwa,killer:Killer]", "search.n_trials=4", "search.fleet=4")
    os.environ.pop("AUTOLOSS_WORKER", None)
    codes = [command.wait(command.start(*arguments))]
    while codes[-1] and len(codes) < 8:
        assert codes[-1] == -signal.SIGKILL, command.said()
        codes.append(command.wait(command.start(*arguments)))
    assert codes[-1] == 0, command.said()
    counted = budget.counted(study())
    assert len(counted) == 4
    killers = [trial for trial in counted if trial.params.get("weighting") == "killer:Killer"]
    others = [trial for trial in counted if trial not in killers]
    assert killers
    assert all(trial.state == TrialState.FAIL for trial in killers)
    assert all("must end with a result, but its process" in trial.user_attrs["error"] for trial in killers)
    assert [trial.state for trial in others] == [TrialState.COMPLETE] * len(others)
    assert len(others) > 1
    # Each is found by halving the fleet of three, which takes two deaths at most, and dies twice alone.
    assert len(codes) <= 1 + 4 * len(killers)

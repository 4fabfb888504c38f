"""What ends a training that calls sys.exit, and what does not."""

import os
import signal
import sys
import time

import pytest

import autoloss
from autoloss.app.signal_handlers import stopping
from autoloss.core.errors import ExitError
from autoloss.search import stop


def signals(number, send=None):
    (send or (lambda: os.kill(os.getpid(), number)))()
    time.sleep(1.1)


@pytest.mark.parametrize(("code", "says"), [(7, "sys.exit(7)"), (None, "sys.exit()"), ("over", "sys.exit('over')")])
def test_a_call_of_sys_exit_is_an_error_that_says_where(code, says):
    with pytest.raises(ExitError) as found, stop.no_exit():
        sys.exit(code)
    assert str(found.value).startswith("A training must end with a result or an error, but test_stop.py, line ")
    assert str(found.value).endswith(f" calls {says}.")
    assert found.value.exit_code == 1


def test_a_handler_that_calls_sys_exit_ends_the_process():
    def handler(number, frame):
        sys.exit(3)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(SystemExit), stop.no_exit():
            signals(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_ends_the_process_after_ctrl_c_still_ends_it():
    def run():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit), stop.no_exit():
        run()


def test_a_users_run_that_calls_sys_exit_is_a_failed_trial(tmp_path):
    calls, lines = [], []

    def run(trial):
        calls.append(trial)
        if len(calls) == 2:
            sys.exit(1)
        return {"error": 1.0}

    autoloss.search(
        run, ["a", "b"], {"error": "min"}, weightings=["fixed"], n_trials=3, confirm_best=0, directory=tmp_path,
        says=lines.append,
    )  # fmt: skip
    assert len(calls) == 3
    (line,) = [line for line in lines if line.startswith("trial 1 failed")]
    assert "calls sys.exit(1)" in line


def test_a_second_signal_acts_at_once_whichever_it_is(capfd):
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, stop.Stopped)):
        with stopping():
            signals(signal.SIGTERM)
            assert stop.requested()
            with pytest.raises(error):
                signals(number)


def test_signals_that_a_cluster_sends_together_are_one_request():
    with stopping():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        with pytest.raises(stop.Stopped, match="SIGTERM"):
            stop.check()


def test_a_cut_reaches_the_main_thread_once_it_is_wanted_and_no_longer():
    with stopping():
        with pytest.raises(stop.Overdue):
            signals(stop.CUT, stop.cut)
        stop.uncut()
        os.kill(os.getpid(), stop.CUT)
        time.sleep(0.01)
    assert not stop.can_cut()

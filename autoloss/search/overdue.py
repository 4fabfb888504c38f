"""Trials without a result long after ``search.timeout``: they are taken for hung, and ended."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.search import budget, stop
from autoloss.search.heartbeat import this_worker

LEAST, TIMES = 20.0, 3.0  # a trial has so many seconds after the timeout, or so many times the longest one
LAST_WAIT = 10.0  # seconds for this process to leave a trial that hangs


def patience(study: Study, at_once: int = 1) -> float | None:
    """How many seconds after the timeout a trial may go on; ``None``: for ever, while no trial is finished.

    Of ``at_once`` trials that are trained at once each has the time of all.
    """
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    longest = max((float(t.user_attrs.get("seconds", 0)) for t in done), default=None)
    return None if longest is None else max(LEAST, TIMES * longest * at_once)


class OverdueWatch:
    """Ends trials that go on after ``timeout`` for longer than :func:`patience` says.

    ``ends`` ends worker processes of this machine by their numbers; only the process that started them can do that.
    """

    def __init__(self, study: Study, timeout: float | None) -> None:
        self.study, self.timeout = study, timeout
        self.ends: Callable[[Sequence[int]], object] = lambda pids: None
        self._started, self._seen = time.monotonic(), dict[int, float]()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.timeout is not None and time.monotonic() - self._started > self.timeout

    def end_others(self) -> int:
        """End the overdue trials of other workers; return how many there were."""
        if not self.over:
            return 0
        now, running = time.monotonic(), self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        limits = [(trial, limit) for trial in running if (limit := patience(self.study, _at_once(trial))) is not None]
        # Not from their own start: another machine has another clock, and may have begun to search later.
        late = [(trial, limit) for trial, limit in limits if now - self._seen.setdefault(trial.number, now) > limit]
        ended = [trial for trial, limit in late if budget.died(self.study, trial, _told(limit))]
        workers = [trial.user_attrs.get("worker", {}) for trial, _ in late]
        self.ends([worker["pid"] for worker in workers if worker.get("host") == this_worker()["host"]])
        return len(ended)

    @contextmanager
    def own(self, running: Sequence[Trial]) -> Iterator[None]:
        """Within it :class:`~autoloss.search.stop.Overdue` is raised when the trials that run here are overdue.

        These are what ``running`` holds at that time. Where one hangs, all do; the first counts as the one that died.
        """
        if self.timeout is None or not stop.can_cut():
            yield
            return
        left = threading.Event()
        thread = threading.Thread(target=self._look, args=(running, left), daemon=True)
        thread.start()
        try:
            try:
                yield
            finally:
                left.set()
                thread.join()
        finally:
            stop.uncut()

    def _look(self, running: Sequence[Trial], left: threading.Event) -> None:
        while not left.wait(0.5):
            trial = next(iter(running), None)
            limit = patience(self.study, _at_once(trial)) if self.over and trial is not None else None
            if limit is None or time.monotonic() - self._started < (self.timeout or 0) + limit:
                continue
            if trial is not None and budget.died(self.study, trial, _told(limit)):
                stop.cut()
                if not left.wait(LAST_WAIT):
                    words = f"autoloss: trial {trial.number}: its process {_told(limit)}, and was ended.\n"
                    os.write(2, words.encode())
                    os._exit(1)
                return


def _at_once(trial: FrozenTrial | Trial | None) -> int:
    return 1 if trial is None else int(trial.user_attrs.get(budget.FLEET, 1))


def _told(seconds: float) -> str:
    return f"gave no result {seconds:.0f} s after search.timeout"

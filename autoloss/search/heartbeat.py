"""Who runs a trial, and whether that worker still lives."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

BEAT, GRACE = 20.0, 90.0


def me() -> dict[str, Any]:
    """Who this worker is: host, process, and when the process began (process numbers are used again)."""
    return {"host": _host(), "pid": os.getpid(), "born": _born(os.getpid())}


@contextmanager
def beating(study: Study, trial: Trial, every: float = BEAT) -> Iterator[None]:
    """Within it ``trial`` carries a count that rises every ``every`` seconds, where any machine can see it.

    Optuna's own heartbeat runs inside ``Study.optimize`` only, and neither a journal nor a gRPC proxy has one.
    """
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(every):
            count += 1
            try:
                study._storage.set_trial_user_attr(trial._trial_id, "beat", count)
            except UpdateFinishedTrialError:
                return
            except Exception:
                # A storage that does not answer now may at the next beat; the trial itself will say if not.
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Watch:
    """Finds trials whose worker died: at once on this machine, elsewhere after ``grace`` seconds without a beat.

    The count is compared with what was seen here before, and no clock with that of another machine.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._seen: dict[int, tuple[Any, float]] = {}

    def dead(self, trial: FrozenTrial) -> bool:
        """Whether the worker of the running ``trial`` is dead, as far as one can know by now."""
        worker = trial.user_attrs.get("worker")
        if worker and worker["host"] == _host():
            return bool(_born(worker["pid"]) != worker["born"])
        # Elsewhere, or killed between asking for the trial and signing it.
        now, beat = time.monotonic(), trial.user_attrs.get("beat")
        seen, since = self._seen.get(trial.number, (None, None))
        if since is None or seen != beat:
            self._seen[trial.number] = (beat, now)
            return False
        return now - since > self.grace


def _host() -> str:
    """This machine, and in it the space of process numbers: containers may share the name and not the numbers."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> float | None:
    """When process ``pid`` began, in ticks since boot; ``None`` if there is no such process."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A zombie is dead, though its parent has not heard of it yet.
        return None if state in "ZX" else float(rest[18])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0.0

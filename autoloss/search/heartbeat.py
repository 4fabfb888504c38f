"""Which worker runs a trial, and whether that worker is still alive."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

HEARTBEAT, GRACE = 20.0, 90.0  # seconds between two heartbeats; seconds without one until a worker counts as dead


def this_worker() -> dict[str, Any]:
    """The host, the process number and the start of this process, since a system uses process numbers again."""
    return {"host": _host(), "pid": os.getpid(), "born": _started(os.getpid())}


@contextmanager
def send_heartbeats(study: Study, trial: Trial, every: float = HEARTBEAT) -> Iterator[None]:
    """Within it a count in the storage of ``trial`` rises every ``every`` seconds; workers on any machine can see it.

    Optuna's own heartbeat works within ``Study.optimize`` only, and neither a journal nor a gRPC proxy has one.
    """
    over = threading.Event()

    def send() -> None:
        count = 0
        while not over.wait(every):
            count += 1
            try:
                study._storage.set_trial_user_attr(trial._trial_id, "beat", count)
            except UpdateFinishedTrialError:
                return
            except Exception:
                # The storage may answer at the next heartbeat; if it does not, the trial itself raises.
                continue

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class WorkerWatch:
    """Finds trials whose worker died: at once on this machine, elsewhere after ``grace`` seconds without a heartbeat.

    A heartbeat is compared with the one that was seen here before; clocks of two machines are never compared.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._seen: dict[int, tuple[Any, float]] = {}

    def death(self, trial: FrozenTrial) -> str | None:
        """How the worker of the running ``trial`` died, as far as it is known; ``None`` while it may be alive."""
        worker = trial.user_attrs.get("worker")
        if worker and worker["host"] == _host():
            return _end(worker["pid"]) if _started(worker["pid"]) != worker["born"] else None
        # The worker runs on another machine, or it was killed before it wrote its name into the trial.
        now, heartbeat = time.monotonic(), trial.user_attrs.get("beat")
        seen, since = self._seen.get(trial.number, (None, None))
        if since is None or seen != heartbeat:
            self._seen[trial.number] = (heartbeat, now)
            return None
        return f"sent no heartbeat for {self.grace:g} s" if now - since > self.grace else None


def told(code: int) -> str:
    """How a process ended, from its exit code as ``subprocess`` gives it.

    >>> told(-9), told(7)
    ('was killed by SIGKILL (as when memory runs out)', 'ended with exit code 7')
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (as when memory runs out)" if name == "SIGKILL" else "")


def _end(pid: int) -> str:
    """How the dead process ``pid`` ended: Linux tells it as long as its parent has not asked."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return told(os.waitstatus_to_exitcode(int(fields[-1])))
    except (OSError, ValueError, IndexError):
        pass
    return "died (it crashed, was killed, or memory ran out)"


def _host() -> str:
    """This machine and its process namespace: two containers can have one host name and different process numbers."""
    try:
        # psutil does not tell the namespace. Only Linux has one.
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> float | None:
    """When process ``pid`` started, in hundredths of a second since boot; ``None`` if it is dead.

    Not a time of day: after a change of the clock another process would read another one.
    """
    try:
        boot, process = psutil.boot_time(), psutil.Process(pid)
        # The parent of a zombie has not read its exit code yet, but the process is dead.
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return float(round(100 * (process.create_time() - boot)))
    except psutil.NoSuchProcess:
        return None

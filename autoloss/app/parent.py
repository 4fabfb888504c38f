"""The tie of a worker process to the process that started it: neither outlives the other.

It is a pipe that only the starting process can write to. It closes when that process ends, however it ends and whatever
the worker is doing by then, importing included.
"""

from __future__ import annotations

import os
import signal
import threading
import time

_READ_END = "AUTOLOSS_PARENT"
WAITS = (10.0, 5.0)  # seconds for a worker to end after the first signal, and after the second
WAITS_ALONE = (3.0, 3.0)  # the same where the process that started it has died

_write_ends: set[int] = set()


def tie() -> tuple[int, int, dict[str, str]]:
    """The pipe's end that a worker must inherit, the one to keep, and what the worker's environment must say."""
    read, write = os.pipe()
    _write_ends.add(write)
    return read, write, {_READ_END: str(read)}


def untie(write: int) -> None:
    """Close the kept end, as the end of this process would."""
    _write_ends.discard(write)
    os.close(write)


def follow() -> None:
    """In a worker: end this process when the one that started it has ended, also when that one was killed."""
    given = os.environ.pop(_READ_END, None)
    if given is not None:
        threading.Thread(target=_end_after, args=(int(given),), daemon=True).start()


def _end_after(read: int) -> None:
    while os.read(read, 1):
        pass
    # At the first signal a worker puts its trial back; before it can, a signal ends it.
    for seconds in WAITS_ALONE:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(seconds)
    os._exit(1)


def _close_in_child() -> None:
    # Otherwise a process that loads data for the starting process would keep its workers alive.
    for write in _write_ends:
        os.close(write)
    _write_ends.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)

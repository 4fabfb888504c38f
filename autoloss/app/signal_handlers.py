"""Signals that ask a command to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autoloss.search import stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
LAST_WAIT = 10.0  # seconds that a command has to end after a second signal
TOGETHER = 1.0  # a SIGTERM within so many seconds of another signal is no second one: a cluster may send several
_AGAIN = b"autoloss: stopping after this step; press Ctrl-C again to stop at once\n"
_OVER = b"\0"  # the number of no signal
_ours: set[int] = set()  # files to which this process writes its signals
_asked: list[float] = []  # when the signals came that count


@contextmanager
def stopping() -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGUSR1 (a cluster's warning) stop the command at a point where it can be resumed.

    A second signal stops it at once: it raises :class:`KeyboardInterrupt` or :class:`Stopped`. If the command has not
    ended ``LAST_WAIT`` seconds later, or at a third signal, the process ends as it is.
    """
    _asked.clear()
    with _last_resort():
        before = {number: signal.signal(number, _ask) for number in SIGNALS}
        before[stop.CUT] = signal.signal(stop.CUT, stop.raise_cut)
        cuttable = stop.can_cut()
        stop.can_cut(True)
        try:
            yield
        finally:
            stop.clear()
            stop.can_cut(cuttable)
            for number, handler in before.items():
                signal.signal(number, handler)


def _ask(number: int, frame: FrameType | None) -> None:
    by = signal.Signals(number).name
    now = time.monotonic()
    if not stop.requested():
        _asked.append(now)
        stop.request(by)
        if number == signal.SIGINT:
            # Not print: the signal may have interrupted a print.
            os.write(2, _new_line() + _AGAIN)
    elif number == signal.SIGINT or not _asked or now - _asked[0] > TOGETHER:
        stop.request(by)
        raise KeyboardInterrupt if number == signal.SIGINT else stop.Stopped(by)


def _new_line() -> bytes:
    """What begins a line of its own: on a terminal it clears the progress bar and the ^C that are in this line."""
    return b"\r\x1b[K" if os.isatty(2) else b"\n"


@contextmanager
def _last_resort() -> Iterator[None]:
    """Within it a thread sees each signal, also while the main thread waits in foreign code and runs no handler."""
    reads, writes = socket.socketpair()
    writes.setblocking(False)
    before = signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    _ours.add(writes.fileno())
    watch = threading.Thread(target=_end_at_last, args=(reads,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        _ours.discard(writes.fileno())
        # Not its end: a forked process may hold a copy of it.
        writes.send(_OVER)
        watch.join()
        writes.close()
        reads.close()


def _end_at_last(reads: socket.socket) -> None:
    came: list[tuple[int, float]] = []
    while True:
        if len(came) >= 2:
            reads.settimeout(max(0.01, came[1][1] + LAST_WAIT - time.monotonic()))
        try:
            data = reads.recv(64)
        except TimeoutError:
            _end(came[-1][0], f"{LAST_WAIT:g} s after a second signal")
            return
        if _OVER in data:
            return
        now = time.monotonic()
        for number in data:
            # As in the handler, what a cluster sends at the same time counts once.
            apart = number == signal.SIGINT or not came or now - came[-1][1] > TOGETHER
            if number in SIGNALS and apart:
                came.append((number, now))
        if len(came) >= 3:
            _end(came[-1][0], "at a third signal")
            return


def _end(number: int, when: str) -> None:
    words = f"autoloss: this process did not stop, and was ended {when}; the same command goes on from what is saved.\n"
    os.write(2, _new_line() + words.encode())
    os._exit(128 + number)


def _close_in_child() -> None:
    # A signal to a forked process (one that loads data) is none to this one.
    if _ours and threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)

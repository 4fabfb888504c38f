"""A search that is asked to stop ends at a place where no work is half done.

An exception that a signal handler raises could come while a file is locked, or be lost in a destructor. So the handler
only records the request, and the training and waiting loops check for it, after every batch.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoloss.core.errors import ExitError

CUT = signal.SIGUSR2 if hasattr(signal, "SIGUSR2") else signal.SIGTERM  # Windows has no SIGUSR2


class Stopped(BaseException):
    """This process was asked to end, by the signal in the message; :attr:`then` says how to continue the work later."""

    then: str = "the same command goes on from here"


class Overdue(BaseException):
    """The trial that this process runs has hung."""


_requests: list[str] = []
_cut = {"possible": False, "wanted": False}


def request(by: str) -> None:
    """Record that this process is to stop, and which signal said so."""
    _requests.append(by)


def requested() -> bool:
    """Whether this process is to stop."""
    return bool(_requests)


def urgent() -> bool:
    """Whether this process was asked again, and is to stop at once."""
    return len(_requests) > 1


def clear() -> None:
    """Remove every request."""
    _requests.clear()


def check() -> None:
    """Raise :class:`Stopped` if this process is to stop."""
    if _requests:
        raise Stopped(_requests[0])


def pause(seconds: float) -> None:
    """Sleep, and raise :class:`Stopped` as soon as this process is to stop."""
    until = time.monotonic() + seconds
    check()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
        check()


def can_cut(possible: bool | None = None) -> bool:
    """Whether :func:`cut` has a signal handler that raises :class:`Overdue`; who sets that handler says so here."""
    if possible is not None:
        _cut["possible"] = possible
    return _cut["possible"]


def cut() -> None:
    """From another thread: raise :class:`Overdue` in the main thread, whatever it is doing, until :func:`uncut`."""
    _cut["wanted"] = True
    os.kill(os.getpid(), CUT)


def uncut() -> None:
    """Raise it no longer."""
    _cut["wanted"] = False


def raise_cut(*signal_and_frame: object) -> None:
    """The handler of the signal ``CUT``."""
    if _cut["wanted"]:
        raise Overdue


@contextmanager
def no_exit() -> Iterator[None]:
    """Within it a call of ``sys.exit`` is an error of the code that makes it, and not the end of this process.

    A call by a signal's handler, or in answer to Ctrl-C, still ends the process.
    """
    try:
        yield
    except SystemExit as error:
        # Lightning has a subclass of SystemExit for SIGTERM.
        if requested() or type(error) is not SystemExit or _by_signal(error):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ExitError(
            f"A training must end with a result or an error, but {Path(where.filename).name}, line {where.lineno}, "
            f"calls sys.exit({'' if error.code is None else repr(error.code)})."
        ) from error


def _by_signal(error: SystemExit) -> bool:
    handlers = [handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))]
    codes = {getattr(one, "__code__", None) or getattr(type(one).__call__, "__code__", None) for one in handlers}
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    before = error.__context__
    return any(frame.f_code in codes for frame in frames) or isinstance(before, KeyboardInterrupt)

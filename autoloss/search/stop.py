"""A search that is asked to stop ends at a place where no work is half done.

An exception that a signal handler raises could come while a file is locked, or be lost in a destructor. So the handler
only records the request, and the training and waiting loops check for it, after every batch.
"""

from __future__ import annotations

import time


class Stopped(BaseException):
    """This process was asked to end, by the signal in the message; the same command can continue the work later."""


_requests: list[str] = []


def request(by: str) -> None:
    """Record that this process is to stop, and which signal said so."""
    _requests.append(by)


def requested() -> bool:
    """Whether this process is to stop."""
    return bool(_requests)


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

"""A search that is asked to stop does so where nothing is half done.

An exception out of a signal's handler could strike while a file is locked, or be lost in a destructor: the handler
only notes that it was asked, and who trains or waits looks here, after every batch.
"""

from __future__ import annotations

import time


class Stopped(BaseException):
    """This process was asked to end, by the signal that it names; what it was running can go on later."""


_asked: list[str] = []


def ask(by: str) -> None:
    """Note that this process is to stop, and who says so."""
    _asked.append(by)


def asked() -> bool:
    """Whether somebody asked."""
    return bool(_asked)


def forget() -> None:
    """Go on as if nobody had asked."""
    _asked.clear()


def obey() -> None:
    """Raise :class:`Stopped` if somebody asked."""
    if _asked:
        raise Stopped(_asked[0])


def pause(seconds: float) -> None:
    """Sleep, and obey."""
    until = time.monotonic() + seconds
    obey()
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
        obey()

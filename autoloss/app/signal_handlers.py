"""Signals that ask a command to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from autoloss.search import stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_AGAIN = b"\nautoloss: stopping after this step; press Ctrl-C again to stop at once\n"


@contextmanager
def stopping() -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGUSR1 (a cluster's warning) stop the command at a point where it can be resumed.

    A second Ctrl-C raises :class:`KeyboardInterrupt` at once.
    """
    before = [signal.signal(number, _ask) for number in SIGNALS]
    try:
        yield
    finally:
        stop.clear()
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _ask(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        if stop.requested():
            raise KeyboardInterrupt
        # Not print: the signal may have interrupted a print.
        os.write(2, _AGAIN)
    stop.request(signal.Signals(number).name)

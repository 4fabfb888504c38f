"""Further worker processes of a search, and signals that ask it to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from autoloss.app.screen import say

_HELPER = "AUTOLOSS_WORKER"


def is_helper() -> bool:
    """Whether this process is a further worker that another one started."""
    return _HELPER in os.environ


class Workers:
    """Runs ``autoloss`` with ``arguments`` in ``count`` further processes while it is entered.

    They join the same study. Their output goes to ``worker-1.log``, ...; cores are shared out.
    """

    def __init__(self, count: int, arguments: Sequence[str], directory: Path) -> None:
        self.count, self.arguments, self.directory = count, list(arguments), directory
        self._running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> Workers:
        if self.count < 1:
            return self
        import torch

        threads = max(1, (os.cpu_count() or 1) // (self.count + 1))
        torch.set_num_threads(threads)
        self.directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.count + 1):
            log = (self.directory / f"worker-{number}.log").open("wb")
            environment = {**os.environ, _HELPER: str(number), "OMP_NUM_THREADS": str(threads)}
            command = [sys.executable, "-m", "autoloss", *self.arguments]
            self._running.append((subprocess.Popen(command, env=environment, stdout=log, stderr=log), log))
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        for number, (process, log) in enumerate(self._running, 1):
            if kind is not None:
                process.terminate()
            code = process.wait()
            log.close()
            if code and kind is None:
                last = (self.directory / f"worker-{number}.log").read_text(errors="replace").strip().splitlines()[-1:]
                say(f"autoloss: worker {number} ended with {code}: {' '.join(last)}", error=True)


@contextmanager
def stopping() -> Iterator[None]:
    """Within it SIGTERM and SIGUSR1, a cluster's warning, end the search so that it can go on later."""
    from autoloss.search.engine import Stopped

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Starts the further worker processes of a search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from autoloss.app.screen import say
from autoloss.search import stop

_HELPER = "AUTOLOSS_WORKER"


def helper_number() -> int:
    """The number of this worker process; 0 for the process that the user started."""
    return int(os.environ.get(_HELPER, "0"))


class Workers:
    """Within it ``autoloss`` runs with ``arguments`` in ``count`` further processes, which join the same study.

    Their output goes to ``worker-1.log``, ...; all processes get the same share of the CPU cores.
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
        try:
            if kind is None:
                self._wait()
        finally:
            # On SIGTERM a worker puts its trial back into the queue.
            for process, _ in self._running:
                process.terminate()
            for process, log in self._running:
                process.wait()
                log.close()

    def _wait(self) -> None:
        for number, (process, _) in enumerate(self._running, 1):
            while process.poll() is None:
                stop.pause(0.2)
            if code := process.returncode:
                last = (self.directory / f"worker-{number}.log").read_text(errors="replace").strip().splitlines()[-1:]
                say(f"autoloss: worker {number} ended with {code}: {' '.join(last)}", error=True)


def follow() -> None:
    """End this worker when the process that started it has ended, also when that one was killed."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True).start()

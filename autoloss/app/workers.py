"""Starts the further worker processes of a search, and ends them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from autoloss.app.parent import WAITS, tie, untie
from autoloss.app.screen import say
from autoloss.core.io.files import refuse_link
from autoloss.search import stop

_HELPER = "AUTOLOSS_WORKER"
WAITS_HUNG = (1.5, 5.0)  # seconds for a worker to answer that did not
WAIT_URGENT = 1.5  # seconds, instead, where this process must stop at once


def helper_number() -> int:
    """The number of this worker process; 0 for the process that the user started."""
    return int(os.environ.get(_HELPER, "0"))


@dataclass(frozen=True, slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    tie: int

    def close(self) -> None:
        self.log.close()
        untie(self.tie)


class Workers:
    """Within it ``autoloss`` runs with ``arguments`` in ``count`` further processes, which join the same study.

    Their output goes to ``worker-1.log``, ...; all processes get the same share of the CPU cores. At the end of the
    search they end by themselves; a search that is stopped, or that fails, ends them. A worker that does not answer is
    killed, and then ``killed`` is called with its process number.
    """

    def __init__(
        self,
        count: int,
        arguments: Sequence[str],
        directory: Path,
        killed: Callable[[int], object] = lambda pid: None,
    ) -> None:
        self.count, self.arguments, self.directory, self.killed = count, list(arguments), directory, killed
        self._running: list[_Worker] = []

    def __enter__(self) -> Workers:
        if self.count < 1:
            return self
        import torch

        threads = max(1, (os.cpu_count() or 1) // (self.count + 1))
        torch.set_num_threads(threads)
        self.directory.mkdir(parents=True, exist_ok=True)
        for number in range(1, self.count + 1):
            log = open(self.directory / f"worker-{number}.log", "wb", opener=refuse_link)
            read, write, tied = tie()
            environment = {**os.environ, _HELPER: str(number), "OMP_NUM_THREADS": str(threads), **tied}
            command = [sys.executable, "-m", "autoloss", *self.arguments]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, pass_fds=[read])
            os.close(read)
            self._running.append(_Worker(number, process, log, write))
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            try:
                for worker in self._end(self._running, WAITS):
                    say(f"autoloss: worker {worker.number} did not stop, and was killed", error=True)
            finally:
                for worker in self._running:
                    worker.close()

    def end_hung(self, pids: Sequence[int]) -> None:
        """End the worker processes ``pids``, which do not answer."""
        hung = [worker for worker in self._running if worker.process.pid in pids]
        self._end(hung, WAITS_HUNG)
        for worker in hung:
            # What it ended with is known.
            self._running.remove(worker)
            worker.close()
            say(f"autoloss: worker {worker.number} hung, and was ended", error=True)

    def _end(self, workers: Sequence[_Worker], waits: Sequence[float]) -> list[_Worker]:
        """End ``workers``, and return those that had to be killed.

        At the first signal a worker puts its trial back into the queue after a step, at the second at once.
        """
        left = [worker for worker in workers if worker.process.poll() is None]
        try:
            for seconds in waits:
                for worker in left:
                    worker.process.terminate()
                left = _alive(left, seconds)
        finally:
            # Also if this process was asked again to stop.
            for worker in left:
                worker.process.kill()
            for worker in left:
                worker.process.wait()
                self.killed(worker.process.pid)
        return left

    def _wait(self) -> None:
        from autoloss.search.heartbeat import told  # it imports optuna: a question is answered without it

        for worker in self._running:
            while worker.process.poll() is None:
                stop.pause(0.2)
            if code := worker.process.returncode:
                text = (self.directory / f"worker-{worker.number}.log").read_text(errors="replace")
                last = " ".join(text.strip().splitlines()[-1:])
                say(f"autoloss: worker {worker.number} {told(code)}" + (f": {last}" if last else ""), error=True)


def _alive(workers: Sequence[_Worker], seconds: float) -> list[_Worker]:
    """Those of ``workers`` that still run after at most ``seconds``."""
    begun = time.monotonic()
    while left := [one for one in workers if one.process.poll() is None]:
        if time.monotonic() - begun > (min(seconds, WAIT_URGENT) if stop.urgent() else seconds):
            break
        time.sleep(0.05)
    return left

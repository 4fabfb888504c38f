"""Scripts in real processes that have torch, Lightning and Optuna already: importing them takes longer than most scripts.

Each process is forked by a server that has imported them and nothing else, so it can be killed and joined as any other.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "pytorch_lightning", "autoloss", "autoloss.search.engine"])


def start(script: Path, arguments: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> BaseProcess:
    """A new process that runs ``script``; what it says on either stream goes to ``log``."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    process = CONTEXT.Process(target=_run, args=(str(script), list(arguments), str(log), given), daemon=True)
    process.start()
    return process


def start_ranks(script: Path, arguments: Sequence[str], log: Path, ranks: int = 2) -> list[BaseProcess]:
    """``script`` in ``ranks`` processes with the variables that ``torch.distributed.run`` sets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    size = {"WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "tests"}
    return [
        start(script, arguments, log, {**address, **size, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(ranks)
    ]


def wait(processes: Sequence[BaseProcess], log: Path, timeout: float) -> None:
    """Until all have ended well; when one fails, or time is up, the others are killed."""
    deadline = time.monotonic() + timeout
    try:
        while any(process.is_alive() for process in processes):
            assert time.monotonic() < deadline, f"not ended after {timeout:g} s\n{log.read_text()}"
            assert not any(process.exitcode for process in processes), log.read_text()
            processes[0].join(0.02)
        assert not any(process.exitcode for process in processes), log.read_text()
    finally:
        kill(processes)


def kill(processes: Sequence[BaseProcess]) -> None:
    """End them, whatever they are doing."""
    for process in processes:
        process.kill()
        process.join()


def _run(script: str, arguments: list[str], log: str, env: dict[str, str]) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")

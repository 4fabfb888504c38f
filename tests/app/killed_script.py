"""Trains in child processes, kills each at a random moment, and goes on: `killed_script.py SEED ROUNDS OVERRIDE...`.

Says in how many rounds the training was still going on. Children are forked from one warm process: they begin within
a second, and are processes of their own.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import autoloss.app.train_one  # noqa: F401 - warm
from autoloss.app.main import main


def begin(directory: str, overrides: list[str]) -> int:
    if pid := os.fork():
        return pid
    code = 1
    try:
        code = main(["train", f"hydra.run.dir={directory}", "ckpt=last", *overrides])
    finally:
        os._exit(code)


def written() -> int:
    checkpoint = Path("cut/checkpoints/last.ckpt")
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


if __name__ == "__main__":
    moments, rounds, overrides = random.Random(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]
    os.waitpid(begin("whole", overrides), 0)
    killed = 0
    while killed < rounds:
        before = written()
        pid = begin("cut", overrides)
        if moments.random() < 0.8:
            # Mostly while it trains; now and then before it does.
            while written() == before and os.waitpid(pid, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        time.sleep(moments.uniform(0, 1))
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            break
        killed += 1
    os.waitpid(begin("cut", overrides), 0)
    sys.stdout.write(f"killed {killed}\n")

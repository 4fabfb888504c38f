"""A process that trains with the one that leads: it takes its tasks, and leaves everything else to that one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist
from pytorch_lightning.utilities import rank_zero_only

from autoloss.app.ranks.group import Failure, Group, join
from autoloss.app.ranks.lead import GRACE, PLACE
from autoloss.app.ranks.place import RankPlace
from autoloss.app.signal_handlers import SIGNALS
from autoloss.app.train_one import train
from autoloss.core.errors import AutolossError, first_line
from autoloss.search import stop
from autoloss.search.stop import Stopped


def main() -> int:
    """Follow the process that started this one, which also decides when a signal ends the training."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    given = json.loads(os.environ.pop(PLACE))
    _end_with(given["parent"])
    return follow(join(RankPlace(**given["place"])))


def follow(group: Group) -> int:
    """Do the tasks of ``group`` until the last one, which holds the exit code of the command."""
    rank_zero_only.rank = group.place.rank  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")  # the process that leads gives the same warnings
    try:
        while "end" not in (task := group.next()):
            group.report(_trained(group, task))
            stop.check()
        return int(task["end"])
    except (RuntimeError, OSError):
        return 1  # the process that leads is gone, and the store with it


def quietly(number: int, frame: FrameType | None) -> None:
    """Ask this process to stop, and leave it to the one that leads to say so."""
    stop.request(signal.Signals(number).name)


def _trained(group: Group, task: Mapping[str, Any]) -> Failure | None:
    """Train the run of ``task``; what went wrong, if something did."""
    group.meeting = tuple(task["meeting"])
    ended = threading.Event()
    threading.Thread(target=_end_with_task, args=(group, ended), daemon=True).start()
    fold, checkpoint = task["fold"], task["checkpoint"]
    try:
        train(
            task["config"],
            Path(task["directory"]),
            checkpoint=Path(checkpoint) if checkpoint else None,
            fold=(fold[0], fold[1]) if fold else None,
        )
    except Stopped:
        return None
    except BaseException as error:
        if stop.requested():
            return None
        said = "" if isinstance(error, AutolossError) else traceback.format_exc()
        return Failure(group.place.rank, first_line(error), said)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
        ended.set()
    return None


def _end_with_task(group: Group, ended: threading.Event) -> None:
    """End this process if it is still busy with a task that the leader gave up ``GRACE`` seconds ago."""
    while not ended.wait(1):
        try:
            over = group.is_over()
        except (RuntimeError, OSError):
            over = True
        if over and not ended.wait(GRACE):
            os._exit(1)


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended, also when that one was killed."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()

"""Locks of run directories, as two openings of one file in this process see them."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from autoloss.app.run_lock import LOCK_FILE, exclusive_lock, run_lock, shared_lock
from autoloss.core.errors import BusyError
from autoloss.core.io.lock import lock
from autoloss.search import stop


def test_a_run_that_another_process_trains_is_waited_for_and_that_is_said_once(tmp_path, monkeypatch, capsys) -> None:
    holder = ExitStack()
    assert holder.enter_context(lock(tmp_path / LOCK_FILE))
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            holder.close()

    monkeypatch.setattr(stop, "pause", pause)
    with run_lock(tmp_path, "gradnorm, seed_1", waits=True):
        assert len(pauses) == 3
    assert capsys.readouterr().out == "gradnorm, seed_1: waiting for another process that trains this run\n"


def test_a_run_that_may_not_wait_is_refused(tmp_path: Path) -> None:
    must = (
        r"A run must have its directory to itself, but another process trains in .*\. Wait until it ends, or leave ckpt"
    )
    with run_lock(tmp_path, "", waits=False), pytest.raises(BusyError, match=must), run_lock(tmp_path, "", waits=False):
        pass


def test_searches_share_a_directory_and_only_one_process_may_empty_it(tmp_path: Path) -> None:
    empties = "fresh=true empties a directory that no other search may use, but another process searches in"
    busy = pytest.raises(BusyError, match=empties)
    with shared_lock(tmp_path), shared_lock(tmp_path), busy, exclusive_lock(tmp_path):
        pass
    is_emptied = "A search must have a directory, but another process is emptying"
    with exclusive_lock(tmp_path), pytest.raises(BusyError, match=is_emptied), shared_lock(tmp_path):
        pass

"""Locks, and what works on a system that has none."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest

from autoloss.core.io import lock as module
from autoloss.core.io.lock import lock
from autoloss.search import study as study_module
from autoloss.search.samplers import build_pruner
from autoloss.search.study import open_storage, open_study

WITHOUT = """
import os, pathlib, sys, warnings
import torch
sys.modules["fcntl"] = None
del os.fork, os.register_at_fork
torch.set_num_threads(1)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    import autoloss
    x = torch.ones(2, requires_grad=True)
    balancer = autoloss.Balancer(["a", "b"], "gradnorm", log_dir="run", record_every=1)
    for _ in range(3):
        balancer({"a": x.sum(), "b": x.square().sum()}, anchor=x).backward()
    balancer.close()
    from autoloss.core.io.lock import lock
    for _ in range(2):
        with lock(pathlib.Path("one")) as first, lock(pathlib.Path("one")) as second:
            assert (first, second) == (True, True)
assert pathlib.Path("run/trajectory.csv").read_text().count("\\n") == 4
print(*(str(one.message) for one in seen if "fcntl" in str(one.message)), sep="\\n")
"""


def test_without_file_locks_the_package_works_and_warns_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("File locks need POSIX (the module fcntl), but this system has none.")


@pytest.fixture
def without_fcntl(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    module._fcntl.cache_clear()
    yield
    module._fcntl.cache_clear()


def test_without_file_locks_a_study_works_and_warns_once(without_fcntl, tmp_path):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        pruner = build_pruner({"name": "none"}, 1, 0)
        for _ in range(2):
            study = open_study(open_storage(None, tmp_path), "autoloss", {}, ["maximize"], pruner)
            study.tell(study.ask(), 1.0)
        with lock(tmp_path / "one") as held:
            assert held
    assert len(study.trials) == 2
    assert sum("fcntl" in str(one.message) for one in seen) == 1


def test_a_lock_is_free_when_its_process_dies_though_a_child_of_it_lives(tmp_path):
    path, ready = tmp_path / "lock", tmp_path / "ready"
    if not (parent := os.fork()):
        with lock(path):
            if not os.fork():
                time.sleep(3)
                os._exit(0)
            ready.touch()
            time.sleep(60)
    while not ready.exists():
        time.sleep(0.01)
    with lock(path) as held:
        assert not held
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    with lock(path) as held:
        assert held


def test_a_lock_is_shared_or_alone(tmp_path):
    path = tmp_path / "lock"
    with lock(path, shared=True) as one, lock(path, shared=True) as two, lock(path) as alone:
        assert (one, two, alone) == (True, True, False)
    with lock(path) as alone, lock(path, shared=True) as other:
        assert (alone, other) == (True, False)
    with lock(path) as alone:
        assert alone


@pytest.mark.parametrize("released", [True, False])
def test_a_process_forked_while_a_journal_is_locked_does_not_keep_its_lock(released, tmp_path):
    path = str(tmp_path / "study.log")
    ready, forked, read_end = tmp_path / "ready", tmp_path / "forked", os.pipe()
    if not (parent := os.fork()):
        first = study_module._Lock(path)
        first.acquire()
        if not os.fork():
            forked.touch()  # a busy machine may start it late
            os.close(read_end[1])
            os.read(read_end[0], 1)  # lives until the test ends
            os._exit(0)
        if released:
            first.release()
        ready.touch()
        time.sleep(60)
    while not (ready.exists() and forked.exists()):
        time.sleep(0.01)
    if not released:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    held = module.take(file)
    os.close(file)
    if released:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    os.close(read_end[1])
    assert held

"""The ``autoloss`` command in the test's own process: what it changes there is put back."""

from __future__ import annotations

import importlib
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from autoloss.app.main import main
from autoloss.core.registry.lookup import registry

LIGHTNING = ("pytorch_lightning", "lightning_fabric")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)


def command(
    arguments: Sequence[str],
    cwd: Path,
    captured: pytest.CaptureFixture[str],
    env: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """What ``autoloss arguments`` does when it is typed in ``cwd``: its exit code, output and errors.

    ``path`` is where further distributions are installed. An exception that leaves the entry point is raised.
    """
    captured.readouterr()
    with as_new_process(cwd, env or {}, path):
        try:
            code = main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    out, err = captured.readouterr()
    return subprocess.CompletedProcess(["autoloss", *arguments], code, out, err)


@contextmanager
def as_new_process(cwd: Path, env: Mapping[str, str], path: Path | None = None) -> Iterator[None]:
    """Within it this process is in ``cwd``, with ``env``, and says what a new one says; afterwards it is as before."""
    before = (Path.cwd(), os.environ.copy(), sys.argv, sys.path.copy(), set(sys.modules))
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    hydra = (GlobalHydra.instance().hydra, HydraConfig.instance().cfg)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    draws = (random.getstate(), numpy.random.get_state(), torch.get_rng_state())
    places = [cwd, *([path] if path else [])]
    try:
        os.chdir(cwd)
        os.environ.update(env)
        if path:
            sys.path.insert(0, str(path))
        sys.argv = ["autoloss"]
        _forget(places)
        with _logging(), _warnings():
            yield
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
        sys.argv, sys.path[:] = before[2], before[3]
        for name in set(sys.modules) - before[4]:
            if _lies_in(sys.modules[name], places):
                del sys.modules[name]
        _forget(places)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        random.setstate(draws[0])
        numpy.random.set_state(draws[1])
        torch.set_rng_state(draws[2])


def _lies_in(module: ModuleType, places: Sequence[Path]) -> bool:
    spec = vars(module).get("__spec__")
    found = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return any(Path(file).is_relative_to(place) for file in found for place in places)


def _forget(places: Sequence[Path]) -> None:
    """Drop what was read from files of the same name: the path's directories, the registry, the app's caches."""
    importlib.invalidate_caches()
    if len(places) > 1:
        vars(registry).pop("listings", None)
    for name, module in list(sys.modules.items()):
        if name.startswith("autoloss.app."):
            for value in list(vars(module).values()):
                if callable(clear := getattr(value, "cache_clear", None)):
                    clear()


@contextmanager
def _logging() -> Iterator[None]:
    """Lightning's loggers, and warnings of any other, write to standard error, as they do where pytest is not."""
    known = [
        logging.root,
        *(one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)),
    ]
    before = [(one, one.level, one.handlers.copy(), one.propagate, one.disabled) for one in known]
    for one in known:
        if one.name.partition(".")[0] in LIGHTNING:
            one.setLevel(logging.INFO if one.name in LIGHTNING else logging.NOTSET)
    for name in LIGHTNING:
        logging.getLogger(name).handlers = [logging.StreamHandler(sys.stderr)]
        logging.getLogger(name).propagate = False
    last = logging.StreamHandler(sys.stderr)
    last.setLevel(logging.WARNING)
    logging.root.handlers = [last]
    try:
        yield
    finally:
        for one, level, handlers, propagate, disabled in before:
            one.setLevel(level)
            one.handlers, one.propagate, one.disabled = handlers, propagate, disabled


@contextmanager
def _warnings() -> Iterator[None]:
    """Warnings are shown on standard error, those that Python shows by itself."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in (ResourceWarning, ImportWarning, PendingDeprecationWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
        warnings.showwarning = _show
        yield


def _show(message, category, filename, lineno, file=None, line=None):
    (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))

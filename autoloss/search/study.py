"""Opens an Optuna study that any number of workers share and any number of restarts continue."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study import Study
from sqlalchemy.exc import DatabaseError

from autoloss._version import __version__
from autoloss.core.errors import ConfigError, first_line, require
from autoloss.core.io.files import refuse_link
from autoloss.core.io.lock import free, take
from autoloss.core.passwords import remember, without_passwords
from autoloss.search.dashboard import describe

WAIT = 20  # seconds for a storage to answer


def open_storage(storage: str | None, directory: Path) -> BaseStorage:
    """The storage: a journal file in ``directory``, a database URL, or ``grpc://host:port``."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if storage is None:
        directory.mkdir(parents=True, exist_ok=True)
        return _journal(directory / "study.log")
    check_url(storage)
    try:
        if storage.startswith("grpc://"):
            host, _, port = storage.removeprefix("grpc://").partition(":")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
            proxy.wait_server_ready(timeout=WAIT)
            return proxy
        return _database(storage)
    except Exception as error:
        first = without_passwords(str(error)).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"search.storage must answer, but {without_passwords(storage)} does not: {first.rstrip('.')}."
        ) from error


def open_study(
    storage: BaseStorage,
    name: str,
    about: Mapping[str, Any],
    directions: Sequence[str],
    pruner: BasePruner,
    reads: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    objectives: Sequence[str] = (),
) -> Study:
    """The study ``name``, new or continued.

    ``about`` says what is searched; a study of something else under the same name is an error. A new study records
    the version of this package, and what its ``objectives`` are called. ``reads`` turns what an earlier version wrote
    of it into what this one would have written.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        pruner=pruner,
        directions=list(directions),  # type: ignore[arg-type]
        load_if_exists=True,
    )
    here = json.loads(json.dumps(about))
    if "about" not in study.user_attrs:
        study.set_user_attr("about", here)
        study.set_user_attr("version", __version__)
        if objectives:
            describe(study, objectives)
    _check_same(name, reads(here), reads(study.user_attrs["about"]))
    return study


def check_study(
    storage: BaseStorage,
    name: str,
    about: Mapping[str, Any],
    reads: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """Raise :class:`ConfigError` where :func:`open_study` would; create and write nothing."""
    if name in optuna.get_all_study_names(storage):
        known = optuna.load_study(study_name=name, storage=storage).user_attrs.get("about")
        if known is not None:
            _check_same(name, reads(json.loads(json.dumps(about))), reads(known))


def _check_same(name: str, here: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    wanted, known = _leaves(here), _leaves(before)
    different = [key for key in {**wanted, **known} if wanted.get(key) != known.get(key)]
    found = ", ".join(f"{key}={known.get(key)!r} and not {wanted.get(key)!r}" for key in sorted(different))
    advice = "Give this search another name=, or start again with fresh=true."
    require(not different, "A study must continue with its own settings", f"{name!r} has {found}", advice)


def _journal(path: Path) -> BaseStorage:
    for one in (path, Path(f"{path}.lock")):
        if one.is_symlink():
            raise ConfigError(f"A study must be a file of its own, but {str(one)!r} is a symbolic link. Remove it.")
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_Lock(str(path))))
    except OSError:
        raise
    except Exception as error:
        # Optuna checks nothing of what it reads: a line of another program may raise anything.
        raise ConfigError(
            f"A study's journal must be lines of JSON as Optuna wrote them, but {str(path)!r} is damaged: "
            f"{first_line(error)}. Restore it, or start again with fresh=true."
        ) from error


class _Lock(BaseJournalFileLock):
    """Optuna's journal lock, which the system frees when its process dies; Optuna's own locks wait for half a minute.

    The process that holds it is the only one that writes. So an incomplete line at the end of the file was left by a
    killed process, and is removed: the next line would be joined to it, and the study could never be read again.
    A process that is forked meanwhile (one that loads data for a trial) does not keep it.
    """

    def __init__(self, path: str) -> None:
        self._journal, self._path, self._file = Path(path), f"{path}.lock", -1
        _open.add(self)

    def acquire(self) -> bool:
        self.release()
        self._file = refuse_link(self._path, os.O_RDWR | os.O_CREAT)
        take(self._file, wait=True)
        self._remove_half_line()
        return True

    def release(self) -> None:
        if self._file >= 0:
            free(self._file)
            os.close(self._file)
            self._file = -1

    def _remove_half_line(self) -> None:
        if not self._journal.exists():
            return
        with open(self._journal, "r+b", opener=refuse_link) as file:
            if not (size := file.seek(0, os.SEEK_END)):
                return
            file.seek(size - 1)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)


def _close_in_child() -> None:
    # Without this the lock would last until the child ends, and every worker of the study would wait for it.
    for one in _open:
        if one._file >= 0:
            os.close(one._file)
            one._file = -1


_open: WeakSet[_Lock] = WeakSet()
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {k: v for key, one in value.items() for k, v in _leaves(one, f"{prefix}.{key}" if prefix else key).items()}


def check_url(url: str) -> None:
    """Raise where a driver would take a part of the password for the host or the port, and print it."""
    hidden = remember(url)
    scheme, _, rest = url.partition("://")
    user, at, host = rest.partition("@")
    port = (host if at else user).partition("/")[0].partition("?")[0].rpartition(":")
    known = not port[1] or port[2].isdigit() or port[2].endswith("]") or "sqlite" in scheme
    if "@" in host.partition("/")[0] or not known or (hidden and at and scheme == "grpc"):
        raise ConfigError(
            "search.storage must be scheme://user:password@host:port/name or grpc://host:port, but its host and port "
            "cannot be told from its password. Write each @ and / of the password as %40 and %2F."
        )


def _database(url: str) -> BaseStorage:
    network = url.startswith(("postgresql", "mysql"))
    options = {"connect_args": {"connect_timeout": WAIT}} if network else {}
    try:
        return RDBStorage(url, engine_kwargs=options)
    except (DatabaseError, StorageInternalError):
        # When two workers create the tables at the same time, the second worker finds them at its second attempt.
        time.sleep(1)
        return RDBStorage(url, engine_kwargs=options)

"""Opens an Optuna study that any number of workers share and any number of restarts continue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study

from autoloss.core.errors import ConfigError, require

NAME = "autoloss"
HEARTBEAT, GRACE = 20, 60


def open_storage(storage: str | None, directory: Path) -> BaseStorage:
    """The storage: a journal file in ``directory``, a database URL, or ``grpc://host:port``."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if storage is None:
        directory.mkdir(parents=True, exist_ok=True)
        path = str(directory / "study.log")
        return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        if storage.startswith("grpc://"):
            host, _, port = storage.removeprefix("grpc://").partition(":")
            proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
            proxy.wait_server_ready(timeout=20)
            return proxy
        return RDBStorage(storage, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"search.storage must answer, but {_hidden(storage)} does not: {first}.") from error


def open_study(
    storage: BaseStorage,
    name: str,
    about: Mapping[str, Any],
    directions: Sequence[str],
    sampler: BaseSampler,
    pruner: BasePruner,
) -> Study:
    """The study ``name``, new or continued.

    ``about`` says what is searched; a study of something else under the same name is an error.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler,
        pruner=pruner,
        directions=list(directions),  # type: ignore[arg-type]
        load_if_exists=True,
    )
    here = json.loads(json.dumps(about))
    known = study.user_attrs.get("about")
    if known is None:
        study.set_user_attr("about", here)
        known = study.user_attrs["about"]
    different = [key for key in {**here, **known} if here.get(key) != known.get(key)]
    found = ", ".join(f"{key} {known.get(key)!r} and not {here.get(key)!r}" for key in sorted(different))
    advice = "Give this one another name=, or fresh=true."
    require(not different, "A study must go on with what it began with", f"{name!r} has {found}", advice)
    return study


def _hidden(url: str) -> str:
    """The URL without its password."""
    before, at, after = url.rpartition("@")
    scheme, mark, rest = before.partition("://")
    return f"{scheme}{mark}{rest.partition(':')[0]}{at}{after}" if at else url

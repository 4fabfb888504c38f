"""Exactly n trials, with any number of workers, some of which die."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

LEFT_OUT = "left_out"
UNSIGNED = timedelta(seconds=60)
_DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def me() -> dict[str, Any]:
    """Who this worker is: host, process, and when the process began (process numbers are used again)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def counted(study: Study) -> list[FrozenTrial]:
    """The finished trials that count: completed, pruned, or failed by an error of their own."""
    return [t for t in study.get_trials(deepcopy=False) if t.state in _DONE and LEFT_OUT not in t.user_attrs]


def ask(study: Study, budget: int) -> Trial | None:
    """The next trial, or ``None`` when the budget is spent or taken by others.

    Trials are numbered in the order in which they are asked for, whoever asks: of those that
    count or may yet count, the first ``budget`` belong to it, and a worker that drew a later
    number gives it back.
    """
    while _taken(study) < budget:
        trial = study.ask()
        trial.set_user_attr("worker", me())
        before = sum(LEFT_OUT not in t.user_attrs for t in study.get_trials(deepcopy=False) if t.number < trial.number)
        if before < budget:
            return trial
        trial.set_user_attr(LEFT_OUT, "surplus")
        study.tell(trial, state=TrialState.FAIL)
    return None


def requeue_dead(study: Study) -> int:
    """Queue again what workers that no longer live were running; how many trials that were."""
    number = 0
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if _dead(trial):
            number += give_back(study, trial)
    if isinstance(study._storage, RDBStorage):
        # Workers on other machines are known by their heartbeat alone.
        optuna.storages.fail_stale_trials(study)
        for trial in study.get_trials(deepcopy=False, states=[TrialState.FAIL]):
            if "error" not in trial.user_attrs and LEFT_OUT not in trial.user_attrs:
                number += _again(study, trial)
    return number


def give_back(study: Study, trial: FrozenTrial | Trial) -> bool:
    """Take a running trial out of the count and queue its parameters again; ``False`` if another worker did."""
    frozen = study.get_trials(deepcopy=False)[trial.number]
    if frozen.state != TrialState.RUNNING:
        return False
    study._storage.set_trial_user_attr(frozen._trial_id, LEFT_OUT, "killed")
    try:
        study.tell(frozen.number, state=TrialState.FAIL)
    except (ValueError, RuntimeError):
        return False
    return _again(study, frozen)


def _again(study: Study, trial: FrozenTrial) -> bool:
    attributes = {k: v for k, v in trial.user_attrs.items() if k in ("baseline", "offered")}
    queued = trial.system_attrs.get("fixed_params")
    study.enqueue_trial(trial.params or queued or {}, user_attrs={**attributes, "again_for": trial.number})
    return True


def _taken(study: Study) -> int:
    states = (*_DONE, TrialState.RUNNING)
    return sum(t.state in states and LEFT_OUT not in t.user_attrs for t in study.get_trials(deepcopy=False))


def _dead(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    if not worker:
        # Killed between asking and signing.
        return trial.datetime_start is not None and datetime.now() - trial.datetime_start > UNSIGNED
    return bool(worker["host"] == socket.gethostname()) and _born(worker["pid"]) != worker["born"]


def _born(pid: int) -> float | None:
    """When process ``pid`` began, in ticks since boot; ``None`` if there is no such process."""
    try:
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0.0

"""Writes a search as plain values into ``search.json``, from which reports are made."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.importance import get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoloss._version import __version__
from autoloss.core.io.files import write_json
from autoloss.core.metrics.pareto import front, knee
from autoloss.search.budget import counted
from autoloss.search.conditional import with_parameters
from autoloss.search.run_places import PLACE
from autoloss.search.runner import Confirmed

MANY = 200  # from this number of trials on, the file is written after every tenth trial only
_ATTRIBUTES = ("label", "score", "metrics", "final_weights", "mean_weight_sum", "seconds", "error", PLACE)


def write_search_json(
    directory: Path,
    study: Study,
    goals: Mapping[str, str],
    objectives: Sequence[str],
    confirmed: Sequence[Confirmed] = (),
    verdict: Sequence[str] = (),
    settings: Sequence[str] = (),
    decision: Mapping[str, Any] | None = None,
) -> None:
    """Write the trials of ``study``; at the end also ``confirmed``, ``verdict``, ``decision`` and ``settings``."""
    trials = counted(study)
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    best = _front(study, done)
    plain = {
        "version": __version__,
        "study": study.study_name,
        "goals": dict(goals),
        "objectives": [
            {"name": name, "goal": "max" if direction.name == "MAXIMIZE" else "min"}
            for name, direction in zip(objectives, study.directions, strict=True)
        ],
        "trials": [_trial(t, t.number in best) for t in trials],
        "knee": next(iter(best), None),
        "importance": importance(study, done),
        "confirmed": [_confirmed(c) for c in confirmed],
        "verdict": list(verdict),
        "decision": dict(decision) if decision else None,
        "settings": list(settings),
        "over": bool(verdict),
    }
    write_json(directory / "search.json", _finite(plain))


def importance(study: Study, done: Sequence[FrozenTrial]) -> dict[str, float]:
    """How much of the first objective each parameter explains (PED-ANOVA); empty where the trials are too few."""
    if len([t for t in done if t.params]) < 8:
        return {}
    values = [t.values[0] for t in done if t.values and t.params]
    if max(values) == min(values):
        return {}
    # PED-ANOVA takes a low target for a good one, in either direction of the study.
    sign = -1.0 if study.directions[0].name == "MAXIMIZE" else 1.0
    with warnings.catch_warnings():
        # Warnings that it is experimental and that the study maximises: the sign takes care of that.
        warnings.simplefilter("ignore")
        try:
            # Equal weights that run first choose nothing: their score must not seem to come from a missing parameter.
            part = with_parameters(study)
            varied = {name for t in done for name, of in t.distributions.items() if not of.single()}
            return get_param_importances(part, params=sorted(varied), target=lambda t: sign * t.values[0])
        except (RuntimeError, ValueError):
            return {}


def _front(study: Study, done: Sequence[FrozenTrial]) -> list[int]:
    """The numbers of the trials on the Pareto front, its knee first; none with one objective."""
    if len(study.directions) < 2 or not done:
        return []
    goals = ["max" if d.name == "MAXIMIZE" else "min" for d in study.directions]
    points = [list(t.values or ()) for t in done]
    first = knee(points, goals)
    return [done[first].number, *(done[i].number for i in front(points, goals) if i != first)]


def _trial(trial: FrozenTrial, on_front: bool) -> dict[str, Any]:
    attributes = {name: trial.user_attrs[name] for name in _ATTRIBUTES if name in trial.user_attrs}
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "baseline": bool(trial.user_attrs.get("baseline")),
        "parameters": dict(trial.params),
        "values": list(trial.values or ()),
        "on_front": on_front,
        **attributes,
    }


def _confirmed(one: Confirmed) -> dict[str, Any]:
    c = one.comparison
    found = {"trial": one.trial, "label": one.candidate.label, "validation": list(one.validation)}
    found |= {"test": list(one.test), "split": one.split, "error": one.error}
    if c is not None:
        found |= {"difference": c.difference, "low": c.low, "high": c.high, "p": c.p_corrected, "words": c.words}
    return found


def _finite(value: Any) -> Any:
    """``value`` with ``None`` for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_finite(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Trials that are queued before the sampler chooses: the baseline, turns of weightings, learned weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.runner import Result
from autoloss.search.space import BASELINE, STATIC, Candidate, Space


def plan(
    study: Study, space: Space, budgeted: int, parameters: Sequence[Mapping[str, Any]] = (), turns: bool = False
) -> None:
    """Queue the baseline, unless there is one that did not fail; in a new study also trials with ``parameters``.

    With ``turns`` each weighting is queued that was never tried, with its default parameters, as far as the budget
    goes: in a few trials a sampler might never choose it.
    """
    trials = budget.kept(study)
    if not any(t.user_attrs.get("baseline") for t in trials if t.state != TrialState.FAIL):
        study.enqueue_trial({}, user_attrs={"baseline": True})
    if not trials:
        for number, one in enumerate(parameters):
            study.enqueue_trial(dict(one), user_attrs={"planned": number})
    if turns:
        tried = {(t.params or t.system_attrs.get("fixed_params", {})).get("weighting") for t in trials}
        left = budgeted - max(1, len(trials))
        for name in [one for one in space.turns if one not in tried][: max(0, left)]:
            study.enqueue_trial({"weighting": name, **space.first(name)}, user_attrs={"planned": f"first {name}"})


def offer(study: Study, space: Space, candidate: Candidate, result: Result) -> None:
    """Queue a trial with the final weights of a dynamic method as fixed weights, once for each method."""
    name = str(candidate.weighting["name"])
    offered = {t.user_attrs.get("offered") for t in study.get_trials(deepcopy=False)}
    terms = set(space.terms)
    if name in (BASELINE, STATIC, *offered) or STATIC not in space.weightings or terms - set(result.final_weights):
        return
    shared = space.loss_parameters(candidate.losses) | dict(candidate.keys)
    static = space.static_parameters(result.final_weights)
    study.enqueue_trial({"weighting": STATIC, **static, **shared}, user_attrs={"offered": name})


def match_baseline(study: Study, space: Space) -> None:
    """Where other keys vary, queue equal weights as often as any other weighting is tried."""
    if not (space.keys or space.losses):
        return
    parameters = [t.params or t.system_attrs.get("fixed_params", {}) for t in budget.kept(study)]
    names = [one.get("weighting", BASELINE) for one in parameters]
    others = [names.count(name) for name in space.weightings if name != BASELINE]
    # Queued before the others' next trial, which may be the last one of the budget.
    if others and names.count(BASELINE) <= max(others):
        study.enqueue_trial({"weighting": BASELINE})

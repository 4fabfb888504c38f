"""Exactly n trials, with any number of workers, some of which die."""

from __future__ import annotations

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.search.heartbeat import Watch, me

LEFT_OUT = "left_out"
# What a queued trial is there for; of those that are there for the same, the first is run.
PURPOSES = ("baseline", "planned", "offered")
_DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def counted(study: Study) -> list[FrozenTrial]:
    """The finished trials that count: completed, pruned, or failed by an error of their own."""
    return [t for t in kept(study) if t.state in _DONE]


def kept(study: Study) -> list[FrozenTrial]:
    """The trials that count or may yet count, queued and running ones among them."""
    return [t for t in study.get_trials(deepcopy=False) if LEFT_OUT not in t.user_attrs]


def spent(study: Study, budget: int) -> bool:
    """Whether ``budget`` trials are finished or running."""
    return sum(t.state != TrialState.WAITING for t in kept(study)) >= budget


def ask(study: Study, budget: int) -> Trial | None:
    """The next trial, or ``None`` when the budget is spent or taken by others.

    Trials are numbered in the order in which they are made, whoever makes them: of those that
    count or may yet count, equal weights and then the first ones belong to the budget, and a
    worker that drew a later one gives it back.
    """
    while not spent(study, budget):
        trial = _baseline(study) or study.ask()
        trial.set_user_attr("worker", me())
        before = [t for t in kept(study) if _rank(t) < _rank(trial)]
        if len(before) < budget and not _repeats(trial, before):
            return trial
        trial.set_user_attr(LEFT_OUT, "surplus")
        study.tell(trial, state=TrialState.FAIL)
    return None


def requeue_dead(study: Study, watch: Watch) -> int:
    """Queue again what workers that no longer live were running; how many trials that were."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return sum(give_back(study, trial) for trial in running if watch.dead(trial))


def give_back(study: Study, trial: FrozenTrial | Trial) -> bool:
    """Take a running trial out of the count and queue its parameters again; ``False`` if another worker did."""
    frozen = study._storage.get_trial(trial._trial_id)
    surplus = frozen.user_attrs.get(LEFT_OUT) == "surplus"
    try:
        if not surplus:
            study._storage.set_trial_user_attr(frozen._trial_id, LEFT_OUT, "killed")
        # Of several workers that come here, the storage lets one change the state.
        study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    if not surplus:
        purpose = {key: value for key, value in frozen.user_attrs.items() if key in PURPOSES}
        parameters = frozen.params or frozen.system_attrs.get("fixed_params") or {}
        study.enqueue_trial(parameters, user_attrs={**purpose, "again_for": frozen.number})
    return not surplus


def _baseline(study: Study) -> Trial | None:
    """The queued equal-weights run, if there is one: all else is compared with it, wherever it stands in the queue."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
        if trial.user_attrs.get("baseline"):
            try:
                if study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    return Trial(study, trial._trial_id)
            except UpdateFinishedTrialError:
                continue
    return None


def _rank(trial: FrozenTrial | Trial) -> tuple[bool, int]:
    return not trial.user_attrs.get("baseline"), trial.number


def _repeats(trial: Trial, before: list[FrozenTrial]) -> bool:
    """Whether two workers queued the same, and the other one comes first."""
    mine = _purpose(trial.user_attrs)
    return bool(mine) and any(mine == _purpose(t.user_attrs) for t in before if t.state != TrialState.FAIL)


def _purpose(attributes: dict[str, object]) -> dict[str, object]:
    return {key: attributes[key] for key in PURPOSES if key in attributes}

"""Keeps a study at exactly n trials, with any number of workers, some of which may die."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.search.heartbeat import WorkerWatch, this_worker

LEFT_OUT = "left_out"
FLEET, AT_MOST = "fleet", "at_most"  # how many trials ran at once; how many of a fleet that died may do so again
DEATH = "death"  # how the process ended that died while it ran this trial
MOST_DEATHS = 2  # then the trial has failed
# Why a trial was queued. Of several trials that were queued for the same reason, only the first runs.
PURPOSES = ("baseline", "planned", "offered")
_DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def counted(study: Study) -> list[FrozenTrial]:
    """The finished trials that count towards the budget: completed, pruned, or failed by their own error."""
    return [t for t in kept(study) if t.state in _DONE]


def none_but_baseline(study: Study) -> str | None:
    """A sentence if trials were tried beside equal weights, and all of them failed."""
    others = [t for t in counted(study) if not t.user_attrs.get("baseline")]
    if not others or any(t.state != TrialState.FAIL for t in others):
        return None
    first = str(others[0].user_attrs.get("error", "unknown")).rstrip(".")
    return f"A search must have a trial that finishes, but all {len(others)} beside equal weights failed: {first}."


def kept(study: Study) -> list[FrozenTrial]:
    """The trials that count towards the budget or may still do so: queued and running ones too."""
    return [t for t in study.get_trials(deepcopy=False) if LEFT_OUT not in t.user_attrs]


def spent(study: Study, budget: int) -> bool:
    """Whether ``budget`` trials are finished or running."""
    return sum(t.state != TrialState.WAITING for t in kept(study)) >= budget


def ask(study: Study, budget: int) -> Trial | None:
    """The next trial, or ``None`` when the budget is spent or other workers run the rest of it.

    Trials of all workers are numbered in the order in which they are created. Of the trials that count or may still
    count, the baseline and then those with the lowest numbers belong to the budget. A worker that was given a later
    one ends it.
    """
    while not spent(study, budget):
        trial = _baseline(study) or study.ask()
        trial.set_user_attr("worker", this_worker())
        before = [t for t in kept(study) if _rank(t) < _rank(trial)]
        if len(before) < budget and not _repeats(trial, before):
            return trial
        trial.set_user_attr(LEFT_OUT, "surplus")
        study.tell(trial, state=TrialState.FAIL)
    return None


def requeue_dead(study: Study, watch: WorkerWatch) -> int:
    """Queue again, or fail, the trials of dead workers, and return how many there were."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    ends = [(trial, watch.death(trial)) for trial in running]
    return sum(died(study, trial, how) for trial, how in ends if how is not None)


def died(study: Study, trial: FrozenTrial | Trial, how: str) -> bool:
    """Queue a trial again whose process ended without a result; the second time it has failed, and counts.

    ``how`` says how the process ended. ``False`` if another worker did this. Of several trials that ran at once nobody
    knows which one it was: they run again in fleets of half the size, until the one that ends its process is alone.
    """
    try:
        if (size := trial.user_attrs.get(FLEET, 1)) > 1:
            return give_back(study, trial, at_most=(size + 1) // 2)
        study._storage.set_trial_user_attr(trial._trial_id, DEATH, how)
        ends = _ends(study, study._storage.get_trial(trial._trial_id))
        if len(ends) < MOST_DEATHS:
            return give_back(study, trial, at_most=1 if AT_MOST in trial.user_attrs else None)
        study._storage.set_trial_user_attr(trial._trial_id, "error", _unanswered(ends))
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    return True


def deaths(study: Study) -> dict[int, str]:
    """What happened to each trial that died with its process, by number."""
    dead = {t.number: t.user_attrs for t in study.get_trials(deepcopy=False) if DEATH in t.user_attrs}
    return {n: a.get("error") or f"its process {a[DEATH]}, and it runs once more" for n, a in dead.items()}


def release(study: Study, pid: int) -> None:
    """Queue again what process ``pid`` of this machine ran; it was ended on purpose, so that this is no death."""
    host = this_worker()["host"]
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        worker = trial.user_attrs.get("worker", {})
        if (worker.get("host"), worker.get("pid")) == (host, pid):
            give_back(study, trial)


def give_back(study: Study, trial: FrozenTrial | Trial, at_most: int | None = None) -> bool:
    """Leave a running trial out of the budget and queue its parameters again; ``False`` if another worker did.

    ``at_most`` says how many may run at once with it then, itself included.
    """
    frozen = study._storage.get_trial(trial._trial_id)
    surplus = frozen.user_attrs.get(LEFT_OUT) == "surplus"
    try:
        if not surplus:
            study._storage.set_trial_user_attr(frozen._trial_id, LEFT_OUT, "killed")
        # If several workers do this at once, the storage lets only one of them change the state.
        study._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    if not surplus:
        purpose = {key: value for key, value in frozen.user_attrs.items() if key in PURPOSES}
        parameters = frozen.params or frozen.system_attrs.get("fixed_params") or {}
        # What was to run with few others once does so in each repeat: it may have ended a fleet.
        limits = [size for size in (at_most, frozen.user_attrs.get(AT_MOST)) if size is not None]
        marks = {AT_MOST: min(limits)} if limits else {}
        study.enqueue_trial(parameters, user_attrs={**purpose, **marks, "again_for": frozen.number})
    return not surplus


def _ends(study: Study, trial: FrozenTrial) -> list[str]:
    """How the processes ended that died while they ran ``trial``, or a trial that it repeats; oldest first."""
    trials = {one.number: one for one in study.get_trials(deepcopy=False)} | {trial.number: trial}
    chain: list[FrozenTrial] = []
    number: int | None = trial.number
    while number in trials:
        chain.append(trials[number])
        number = chain[-1].user_attrs.get("again_for")
    return [one.user_attrs[DEATH] for one in reversed(chain) if DEATH in one.user_attrs]


def _unanswered(ends: Sequence[str]) -> str:
    """The error of a trial whose processes ended without a result.

    >>> _unanswered(["was killed by SIGSEGV", "was killed by SIGSEGV"])
    'A trial must end with a result, but its process was killed by SIGSEGV, twice.'
    """
    told = f"{ends[0]}, twice" if len(set(ends)) == 1 else ", and then ".join(ends)
    return f"A trial must end with a result, but its process {told}."


def _baseline(study: Study) -> Trial | None:
    """The queued baseline, if there is one, wherever it is in the queue: all others are compared with it."""
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
    """Whether another trial that was queued for the same reason comes first."""
    purpose = _purpose(trial.user_attrs)
    return bool(purpose) and any(purpose == _purpose(t.user_attrs) for t in before if t.state != TrialState.FAIL)


def _purpose(attributes: dict[str, object]) -> dict[str, object]:
    return {key: attributes[key] for key in PURPOSES if key in attributes}

"""The line that a worker prints after each trial."""

from __future__ import annotations

from datetime import datetime, timedelta

from optuna.study import Study
from optuna.trial import TrialState

from autoloss.core.io import text_table
from autoloss.search import budget

_WORDS = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def trial_line(study: Study, number: int, n_trials: int, seconds: float) -> str:
    """The result of the finished trial ``number`` and the state of the study; this worker began ``seconds`` ago."""
    trials = budget.counted(study)
    trial = next(t for t in trials if t.number == number)
    score = trial.user_attrs.get("score")
    shown = f" score {text_table.number(score, '+.4f')}" if score is not None else ""
    which = trial.user_attrs.get("error") or trial.user_attrs.get("label", "")
    scores = [t.user_attrs["score"] for t in trials if t.state == TrialState.COMPLETE]
    best = f"best {text_table.number(max(scores), '+.4f')}" if scores else "none finished"
    counts = ", ".join(f"{sum(t.state == state for t in trials)} {word}" for state, word in _WORDS.items())
    # Trials of all workers count: other workers shorten the remaining time.
    since = datetime.now() - timedelta(seconds=seconds)
    recent = sum(t.datetime_complete is not None and t.datetime_complete >= since for t in trials)
    left = max(0, n_trials - len(trials))
    wait = left * seconds / max(1, recent)
    result = f"trial {number} {_WORDS[trial.state]}:{shown} {which}"
    return f"{result}  [{counts}; {best}; {left} to go, about {wait:.0f} s]"

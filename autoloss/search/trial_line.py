"""The lines that a worker prints before trials that are trained at once, and after each trial."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from optuna.study import Study
from optuna.trial import TrialState

from autoloss.core.io import text_table
from autoloss.search import budget

_WORDS = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def trial_line(study: Study, number: int, n_trials: int, seconds: float, untold: int = 0) -> str:
    """The result of the finished trial ``number`` and the state of the study; this worker began ``seconds`` ago.

    ``untold`` trials that were trained with it are finished too; their lines come next.
    """
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
    wait = max(0, left - untold) * seconds / max(1, recent + untold)
    result = f"trial {number} {_WORDS[trial.state]}:{shown} {which}"
    return f"{result}  [{counts}; {best}; {left} to go, about {wait:.0f} s]"


def fleet_line(numbers: Sequence[int]) -> str:
    """The trials that are trained at once from now on.

    >>> fleet_line([3, 4, 5, 9])
    '4 trials at once: 3 to 5, 9'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = (f"{one[0]} to {one[-1]}" if len(one) > 1 else f"{one[0]}" for one in runs)
    return f"{len(numbers)} trials at once: {', '.join(parts)}"

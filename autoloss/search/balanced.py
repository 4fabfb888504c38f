"""Takes out of a space the weights of losses that stay unbalanced; only a training says which these are."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autoloss.search.conditional import Conditional
from autoloss.search.space import STATIC, Space


def finished_baseline(study: Study) -> FrozenTrial | None:
    """The finished trial with equal weights, which scores are relative to."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return next((trial for trial in done if trial.user_attrs.get("baseline")), None)


def balanced(space: Space, study: Study) -> tuple[Space, str]:
    """The space for trials after the baseline of ``study``, and a sentence if it is smaller than ``space``.

    It has no weights for what the baseline's training declared unbalanced (``balanced=False``).
    """
    baseline = finished_baseline(study)
    declared = baseline.user_attrs.get("unbalanced", ()) if baseline is not None else ()
    names = [unit for unit in space.terms if unit in declared]
    if not names or STATIC not in space.weightings or len(names) == len(space.terms):
        return space, ""
    found = space.without(names)
    if isinstance(sampler := study.sampler, Conditional):
        sampler.branches = found.branches
    kept = f"{', '.join(names)} {'keeps its' if len(names) == 1 else 'keep their'} base weight"
    return found, f"No weight is searched for what the problem declares unbalanced (balanced=False): {kept}."

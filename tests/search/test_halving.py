"""What ends its process runs again beside fewer others, until it is found."""

import math

import pytest
from optuna.trial import TrialState

from autoloss.search import budget
from autoloss.search.batch import ask_batch
from tests.search.test_budget import opened


@pytest.mark.parametrize("way", ["died", "released"])
def test_what_must_run_with_few_others_does_so_in_each_repeat(tmp_path, way):
    """A trial of a fleet that died runs in one of half the size; what dies alone then stays alone."""
    study = opened(tmp_path)
    study.enqueue_trial({"x": 1.0})
    for size, limit in ((5, 3), (2, 1)):
        trial = study.ask()
        trial.set_user_attr(budget.FLEET, size)
        assert budget.died(study, trial, "was killed by SIGKILL")
        assert study.trials[-1].user_attrs[budget.AT_MOST] == limit
    for _ in range(budget.MOST_DEATHS - 1):
        trial = study.ask()
        assert trial.user_attrs[budget.AT_MOST] == 1
        assert budget.died(study, trial, "was killed by SIGKILL") if way == "died" else budget.give_back(study, trial)
    waiting = [one for one in study.trials if one.state == TrialState.WAITING]
    assert [one.user_attrs.get(budget.AT_MOST) for one in waiting] == [1]


def test_what_dies_alone_before_its_fleet_is_of_one_stays_alone(tmp_path):
    study = opened(tmp_path)
    study.enqueue_trial({"x": 1.0}, user_attrs={budget.AT_MOST: 4})
    assert budget.died(study, study.ask(), "was killed by SIGKILL")
    assert study.trials[-1].user_attrs[budget.AT_MOST] == 1


def test_a_trial_of_no_fleet_is_repeated_as_any_other(tmp_path):
    study = opened(tmp_path)
    study.enqueue_trial({"x": 1.0})
    assert budget.died(study, study.ask(), "was killed by SIGKILL")
    assert budget.AT_MOST not in study.trials[-1].user_attrs


class Named:
    """A space of one number."""

    keys, losses = {}, {}

    def suggest(self, trial):
        return trial.suggest_float("x", 0.0, 9.0)


@pytest.mark.parametrize("killers", [(0,), (3,), (6,), (1, 2), (0, 6)])
@pytest.mark.parametrize("size", [2, 3, 7])
def test_what_ends_its_process_is_found_by_halving_and_the_others_finish_in_fleets(tmp_path, size, killers):
    """Seven trials; those of ``killers`` end the process in which they run, and all that run with them."""
    study, deaths, fleets = opened(tmp_path), 0, []
    for x in range(7):
        study.enqueue_trial({"x": float(x)})
    for _ in range(40):
        trials = ask_batch(study, Named(), 7, size)
        if not trials:
            break
        for trial in trials if len(trials) > 1 else []:
            trial.set_user_attr(budget.FLEET, len(trials))
        if any(Named().suggest(trial) in killers for trial in trials):
            deaths += 1
            assert all(budget.died(study, trial, "was killed by SIGKILL") for trial in trials)
        else:
            fleets += [len(trials)] * len(trials)
            for trial in trials:
                study.tell(trial, 1.0)
    states = {trial.params["x"]: trial.state for trial in budget.counted(study)}
    assert states == {x: TrialState.FAIL if x in killers else TrialState.COMPLETE for x in range(7)}
    assert deaths <= len(killers) * (math.ceil(math.log2(size)) + budget.MOST_DEATHS)
    if size == 7 and len(killers) == 1:
        assert fleets.count(1) <= 1  # who is not the last one with the killer is not alone
        assert max(fleets) >= 3

"""Trials that are asked for and trained at once."""

import json
import shutil
import time

import pytest
from optuna.trial import TrialState

from autoloss.search import budget, overdue
from autoloss.search.batch import AUTO, size_of_batch
from autoloss.search.confirm import chosen, confirm
from autoloss.search.samplers import SAMPLERS, build_sampler
from tests.search.conftest import GOALS, SPACE, Instant


class Fleet(Instant):
    """Trains at most ``most`` at once; those with a label in ``alone`` only alone."""

    def __init__(self, most=100, alone=(), **more):
        super().__init__(**more)
        self.most, self.alone, self.fleets = most, alone, []
        self.seen = lambda: None

    def many(self, tasks):
        self.fleets.append(len(tasks))
        self.seen()
        for i, task in reversed(list(enumerate(tasks))):
            if any(part in task.candidate.label for part in self.alone):
                yield i, None
                continue
            try:
                yield i, self(task.candidate, task.seed, task.directory, task.report, task.test)
            except Exception as error:
                yield i, error


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("trials", [1, 3, 8, 40, 64, 1000])
@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_auto_leaves_the_sampler_results_to_learn_from(sampler, trials, workers):
    size = size_of_batch("auto", {"name": sampler}, trials, workers)
    assert 1 <= size <= AUTO
    if sampler in ("random", "grid", "qmc"):
        assert size == AUTO
    elif trials >= 16:
        assert workers * (size - 1) < trials / 4


def test_a_number_is_taken_as_it_is_but_for_a_generation():
    assert size_of_batch(30, {"name": "tpe"}, 40) == 30
    assert size_of_batch(30, {"name": "nsga2"}, 40) == 10
    assert size_of_batch(30, {"name": "nsga2", "population_size": 20}, 40) == 20
    assert size_of_batch("auto", {"name": "nsga2", "population_size": 6}, 40) == 6


def test_a_fleet_is_a_generation_of_cmaes():
    def size(at_once):
        return build_sampler({"name": "cmaes"}, 0, 1, SPACE.branches, 40, at_once).inner._popsize

    assert size(1) == 4
    assert size(40) == 40 // SPACE.branches.kinds > 4


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "nsga2"])
def test_a_sampler_sees_what_it_has_chosen_for_the_same_fleet(begin, sampler, monkeypatch):
    known = []
    ask = budget.ask

    def asked(study, trials):
        running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        known.append([bool(one.params) for one in running if not one.user_attrs.get("baseline")])
        return ask(study, trials)

    monkeypatch.setattr(budget, "ask", asked)
    runner = Fleet()
    search = begin(21, runner, sampler=sampler, fleet=5)
    search.plan(turns=True)
    search.work()
    assert runner.fleets == [5, 5, 5, 5]
    assert max(map(len, known)) == 4
    assert all(all(one) for one in known)
    points = [str(one.params) for one in budget.counted(search.study) if one.params.get("weighting") == "gradnorm"]
    assert len(set(points)) == len(points) > 1


def test_what_cannot_be_trained_at_once_is_trained_alone_in_the_same_trials(begin):
    runner = Fleet(alone=["gradnorm"])
    search = begin(13, runner, fleet=6)
    search.plan(turns=True)
    search.work()
    counted = budget.counted(search.study)
    assert [one.state for one in counted] == [TrialState.COMPLETE] * 13
    assert not [one for one in budget.kept(search.study) if one not in counted]
    assert len(runner.calls) == 13
    sizes = {one.user_attrs["label"].split()[0]: one.user_attrs.get(budget.FLEET) for one in counted}
    assert sizes["gradnorm"] == 1
    assert sizes["dwa"] == 6


def test_once_nothing_can_be_trained_at_once_one_trial_is_asked_for(begin):
    runner = Fleet(alone=[""])
    runner.seen = lambda: setattr(runner, "most", 1)
    search = begin(12, runner, fleet=4)
    search.plan()
    search.work()
    assert runner.fleets == [4]
    assert len(budget.counted(search.study)) == 12


def test_patience_ends_trials_that_were_asked_for_at_once_and_are_trained_alone(begin):
    runner = Fleet(alone=[""], error=lambda candidate, seed: 1.0 if candidate.label == "equal" else 2.0)
    search = begin(40, runner, fleet=16, patience=3)
    search.plan()
    search.work()
    assert len(budget.counted(search.study)) == 4
    assert not search.study.get_trials(states=[TrialState.RUNNING])


def test_a_fleet_may_take_as_long_as_its_trials_one_by_one(finish):
    study = finish(3)
    study.get_trials(deepcopy=False)[1].user_attrs["seconds"] = 100.0
    assert overdue.patience(study, 16) == 16 * overdue.patience(study)


def test_the_lines_of_a_fleet_say_who_and_the_time_left_as_if_all_were_told(begin):
    lines, runner = [], Fleet()
    runner.seen = lambda: time.sleep(0.3)
    search = begin(13, runner, fleet=6, says=lines.append)
    search.plan()
    search.work()
    assert lines[1] == "6 trials at once: 1 to 6"
    waits = [int(line.split("about ")[1].split()[0]) for line in lines if " to go" in line]
    assert len(waits) == 13
    assert all(wait <= 2 for wait in waits[1:])  # of the first line of a fleet alone it would be seven times as long


def test_the_time_of_a_fleet_is_shared_out(begin):
    runner = Fleet()
    runner.seen = lambda: time.sleep(0.4)
    search = begin(9, runner, fleet=8)
    search.plan()
    search.work()
    seconds = [one.user_attrs["seconds"] for one in budget.counted(search.study)[1:]]
    assert sum(seconds) == pytest.approx(0.4, abs=0.3)


def test_a_confirmation_keeps_each_result_as_soon_as_it_is_known(begin, tmp_path):
    class Dies(Fleet):
        def many(self, tasks):
            for number, found in enumerate(super().many(tasks)):
                if number == 5:
                    raise KeyboardInterrupt
                yield found

    runner = Dies()
    search = begin(8, Fleet())
    search.plan()
    search.work()
    candidates = chosen(search.study, 2)
    with pytest.raises(KeyboardInterrupt):
        confirm(runner, candidates, GOALS, 3, tmp_path, fleet=32)
    assert len(list(tmp_path.glob("confirm/*/*/confirmed.json"))) == 5
    again = Fleet()
    confirm(again, candidates, GOALS, 3, tmp_path, fleet=32)
    assert len(again.tests) == 9 - 5


def test_a_confirmation_whose_fleet_died_goes_on_in_fleets_of_half_the_size(begin, tmp_path):
    """A copy of its directory is what it leaves when its process dies."""
    search = begin(8, Fleet())
    search.plan()
    search.work()
    candidates = chosen(search.study, 2)
    died, place = tmp_path / "died", tmp_path / "again"

    class Stopped(Fleet):
        def many(self, tasks):
            shutil.copytree(place, died, dirs_exist_ok=True)
            raise KeyboardInterrupt
            yield

    sizes = []
    for size in (9, 5, 4):  # of nine, of the first half, and of the rest
        runner = Stopped()
        with pytest.raises(KeyboardInterrupt):
            confirm(runner, candidates, GOALS, 3, place, fleet=32)
        begun = [json.loads(path.read_text()) for path in died.glob("confirm/*/*/begun.json")]
        sizes.append(sum(of == {"at_once": size} for of in begun))
        shutil.rmtree(place)
        shutil.move(died, place)
    assert sizes == [9, 5, 4]
    runner = Fleet()
    assert len(confirm(runner, candidates, GOALS, 3, place, fleet=32)) == 3
    assert sorted(runner.fleets) == [2, 2, 2, 3]
    assert len(runner.tests) == 9
    assert not list(place.glob("confirm/*/*/begun.json"))

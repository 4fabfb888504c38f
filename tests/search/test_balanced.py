"""A loss that only the training declares unbalanced has no weight to search for."""

import pytest
import torch

from autoloss import Entry
from autoloss.core.space import Choice
from autoloss.search.library import search
from autoloss.search.runner import Result
from autoloss.search.samplers import SAMPLERS
from autoloss.search.space import Space

THREE = Space(("a", "kl", "b"), {"equal": {}, "fixed": {}, "dwa": {}})


class Declares:
    """A runner whose training declares some losses unbalanced."""

    def __init__(self, *names):
        self.names = names

    def __call__(self, candidate, seed, directory, report, test=False):
        weights = {"a": 1.0, "kl": 1.0, "b": 1.0} | dict(candidate.weighting.get("weights", {}))
        return Result({"error": abs(weights["a"] - 0.3)}, {}, weights, 3.0, self.names)


def weights_of(study):
    candidates = [trial.user_attrs["candidate"]["weighting"] for trial in study.trials]
    return [set(one["weights"]) for one in candidates if one["name"] == "fixed"]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_no_weight_is_searched_for_what_keeps_its_base_weight(begin, sampler):
    said = []
    for n_trials in (7, 12):  # also in a study that goes on
        work = begin(n_trials, Declares("kl"), space=THREE, sampler=sampler, says=said.append)
        work.plan(turns=True)
        work.work()
    found = weights_of(work.study)
    assert len(found) >= 3
    assert all(one == {"a", "b"} for one in found)
    sentence = (
        "No weight is searched for what the problem declares unbalanced (balanced=False): kl keeps its base weight."
    )
    assert said.count(sentence) == 2


def test_where_every_loss_is_balanced_or_none_the_space_is_whole(begin):
    for names in ((), ("a", "kl", "b"), ("other",)):
        said = []
        work = begin(8, Declares(*names), space=THREE, sampler="random", says=said.append)
        (work.directory / "study.log").unlink()
        work = begin(8, Declares(*names), space=THREE, sampler="random", says=said.append)
        work.plan()
        work.work()
        assert all(one == {"a", "kl", "b"} for one in weights_of(work.study))
        assert not [line for line in said if "balanced" in line]


def test_one_balanced_loss_is_left(begin):
    space = Space(("a", "kl"), {"equal": {}, "fixed": {}}, keys={"x": Choice((1, 2))})
    work = begin(6, Declares("kl"), space=space, sampler="tpe")
    work.plan()
    work.work()
    assert all(one == {"a"} for one in weights_of(work.study))


def test_in_your_own_loop(tmp_path):
    def run(trial):
        p = torch.nn.Parameter(torch.tensor(1.0))
        trial.balancer({"a": p**2, "kl": Entry(p.abs(), balanced=False), "b": (p - 2) ** 2})
        return {"error": 1.0}

    outcome = search(
        run, ["a", "kl", "b"], {"error": "min"}, weightings=["fixed"], n_trials=4, confirm_best=0, directory=tmp_path,
        says=lambda line: None,
    )  # fmt: skip
    assert weights_of(outcome.study) == [{"a", "b"}] * 3

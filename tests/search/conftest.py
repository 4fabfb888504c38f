import zlib

import pytest

from autoloss.core.space import Interval
from autoloss.search.engine import Search, Settings
from autoloss.search.runner import Result
from autoloss.search.samplers import build_pruner, build_sampler
from autoloss.search.space import Space
from autoloss.search.study import open_storage, open_study

SPACE = Space(("a", "b"), {"equal": {}, "fixed": {}, "gradnorm": {"alpha": Interval(0, 3)}, "dwa": {}})
GOALS = {"error": "min"}


class Instant:
    """A runner that trains nothing: ``error`` of a candidate and a seed, told at every one of ``steps`` steps."""

    def __init__(self, error=None, steps=0):
        self.error = error or (lambda candidate, seed: 1 + zlib.crc32(candidate.label.encode()) % 1000 / 1000)
        self.steps, self.calls, self.tests = steps, [], []

    def __call__(self, candidate, seed, directory, report, test=False):
        (self.tests if test else self.calls).append((candidate, seed))
        found = self.error(candidate, seed)
        metrics = found if isinstance(found, dict) else {"error": found}
        for step in range(1, self.steps + 1):
            report(step, {name: value * (2 - step / self.steps) for name, value in metrics.items()})
        weights = candidate.weighting.get("weights", {"a": 0.5, "b": 1.5})
        return Result(metrics, dict(metrics) if test else {}, weights, sum(weights.values()))


@pytest.fixture
def instant():
    return Instant


@pytest.fixture
def begin(tmp_path):
    """A search in ``tmp_path`` with an instant runner; called again it joins or goes on."""

    def make(
        n_trials=8, runner=None, space=SPACE, goals=GOALS, sampler="random", pruner="none", says=None, folds=0, **more
    ):
        settings = Settings(n_trials, **{"pause": 0.01, **more})
        directions = ["maximize" if o == "score" or goals[o] == "max" else "minimize" for o in settings.objectives]
        made = build_pruner({"name": pruner} if isinstance(pruner, str) else pruner, len(directions), folds)
        about = {"goals": goals, "weightings": list(space.weightings)}
        study = open_study(open_storage(None, tmp_path), "autoloss", about, directions, made)
        study.sampler = build_sampler({"name": sampler}, settings.seed, len(directions), space.branches, n_trials)
        says = says or (lambda line: None)
        return Search(study, space, runner or Instant(), goals, settings, tmp_path, says)

    return make


@pytest.fixture
def finish(begin):
    """The study of a search that was planned and worked off here."""

    def run(*arguments, **options):
        search = begin(*arguments, **options)
        search.plan()
        search.work()
        return search.study

    return run

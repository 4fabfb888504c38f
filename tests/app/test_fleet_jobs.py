"""Jobs of a sweep whose fleet died are trained by fleets of half the size, without a training here."""

import pytest

from autoloss.app import fleet_jobs
from autoloss.app.fleet_jobs import MARK, train_jobs
from autoloss.app.train_job import TrainJob
from tests.app.fleets import request


class Died(BaseException):
    """Stands for the death of the process: nothing that follows a training happens."""


@pytest.fixture
def fleets(monkeypatch):
    """The fleets that were begun, by the names of their runs; one with a run called ``killer`` dies."""
    begun = []

    class Runs:
        def __init__(self, most, one):
            self.most, self.one = most, one

        def each(self, requests):
            for start in range(0, len(requests), self.most):
                names = [one.title for one in requests[start : start + self.most]]
                begun.append(names)
                if "killer" in names:
                    raise Died
                for i, _ in enumerate(names, start):
                    yield i, {}

    monkeypatch.setattr(fleet_jobs, "FleetRuns", Runs)
    monkeypatch.setattr(fleet_jobs._Held, "__exit__", lambda self, *error: None)  # a dead process tidies nothing
    return begun


def test_the_one_that_kills_is_found_by_halving_and_the_others_are_trained_once(tmp_path, fleets):
    names = ["a", "b", "c", "d", "e", "killer"]
    config = request(tmp_path, "a").config
    jobs = [TrainJob(config, tmp_path / name, [], True, name) for name in names]
    results, alone = [], []

    def run(i, trained):
        (alone if trained is None else results).append(names[i])
        if trained is None and names[i] == "killer":
            raise Died
        (jobs[i].directory / "done").touch()

    for _ in range(3):
        with pytest.raises(Died):
            train_jobs([job if not (job.directory / "done").exists() else None for job in jobs], run, 16)
    assert fleets == [
        ["a", "b", "c", "d", "e", "killer"],
        ["a", "b", "c"],
        ["d", "e", "killer"],
        ["d", "e"],
        ["killer"],
    ]
    assert results == ["a", "b", "c", "d", "e"]
    assert not [name for name in names[:5] if (tmp_path / name / MARK).exists()]

"""Whose problems are alike: what the data gave a problem."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from autoloss.training.fleet.alike import alike, equal, names_read
from tests.training.fleet.trainings import Three


class Divides(Three):
    """Its metrics are divided by a mean of its data; how many samples it has, nobody asks."""

    def datasets(self, seed):
        found = super().datasets(seed % 10)
        self.scale = found["train"][0]["size"].norm()
        self.told = seed
        return found

    def measure(self, outputs):
        return {name: values / self.scale for name, values in super().measure(outputs).items()}


def job(problem, seed):
    data = problem.datasets(seed)
    return SimpleNamespace(member=SimpleNamespace(problem=problem, network=problem.network()), data=data)


def test_problems_are_alike_if_what_they_read_is():
    jobs = [job(Divides(), seed) for seed in (0, 1, 0, 11, 2)]
    assert [place for place, _ in alike(jobs)] == [0, 1, 0, 1, 4]
    assert [differs for _, differs in alike(jobs)] == ["", "scale", "", "scale", "scale"]
    assert {type(one.member.problem) for one in jobs} == {Divides}


def test_what_nobody_reads_may_differ():
    class Tells(Three):
        def datasets(self, seed):
            self.told = seed
            return super().datasets(seed)

    assert alike([job(Tells(), seed) for seed in range(3)]) == [(0, "")] * 3


def test_a_problem_whose_metrics_fail_must_be_equal():
    class Fails(Divides):
        def measure(self, outputs):
            raise RuntimeError("no")

    assert [place for place, _ in alike([job(Fails(), seed) for seed in range(2)])] == [0, 1]


@dataclass(slots=True)
class Slotted:
    number: float
    tensor: torch.Tensor
    own: list = field(default_factory=list)


def ring(number):
    found = SimpleNamespace(number=number)
    found.own = [found]
    return found


ALIKE = {
    "tensor": lambda n: torch.tensor([n, torch.nan]),
    "nested": lambda n: {"a": [n, (n, None)], "b": "text"},
    "slots": lambda n: Slotted(n, torch.ones(2) * n),
    "function": lambda n: lambda: n,
    "method": lambda n: Slotted(n, torch.zeros(1)).__repr__,
    "array": lambda n: torch.ones(3).mul(n).numpy(),
    "set": lambda n: {n},
    "ring": ring,
}


@pytest.mark.parametrize("made", ALIKE.values(), ids=ALIKE)
def test_values_are_equal_with_all_that_they_hold(made):
    assert equal(made(1.0), made(1.0))
    assert not equal(made(1.0), made(2.0))
    assert not equal(made(1.0), "something else")


def test_names_that_are_read_in_a_method_of_a_parent_are_seen():
    problem = Three()
    assert {"missing", "aside"} <= names_read(problem, lambda: Three.outputs(problem, *given(problem)))
    assert type(problem) is Three


def given(problem):
    data = problem.datasets(0)["train"]
    return problem.network(), {name: of[None] for name, of in data[0].items()}

"""Members that leave, members that fail, and what cannot be stacked."""

import pytest
import torch
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.errors import LabelError, NonFiniteError, NonPositiveError
from autoloss.core.registry.lookup import registry
from autoloss.core.weighting import Scalarization, Weighting
from autoloss.problems._tensors import TensorTable
from autoloss.training.fleet.batches import StackedBatches, stacked
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.party import Party
from autoloss.training.fleet.shared_data import SharedData
from autoloss.training.fleet.stacked import Stacked, UnlikeError, differing
from tests.training.fleet.trainings import BATCH, Three, assert_same, member, train_alone, train_with_leavers


def fleet_of(problem, weightings, **options):
    return Fleet([member(problem, seed, weighting, **options) for seed, weighting in enumerate(weightings)])


def batches_of(problem, number):
    return StackedBatches([problem.datasets(0)["train"]] * number, range(number), BATCH)


@pytest.mark.parametrize("weightings", [["gradnorm"] * 4, ["mgda", "gradnorm", "uncertainty", "gradnorm"]])
def test_the_others_go_on_as_if_nobody_had_left(weightings):
    problem = Three(normalised=True)
    fleet = fleet_of(problem, weightings)
    left = train_with_leavers(fleet, batches_of(problem, 4), [0, 2])
    assert len(fleet) == 2
    alone = [member(problem, seed, weightings[seed]) for seed in (1, 3)]
    for one, seed in zip(alone, (1, 3), strict=True):
        train_alone(one, problem.datasets(0)["train"], seed)
    assert_same(fleet.members, alone, tolerance=1e-4)
    for one, before in left:
        assert all(torch.equal(p, q) for p, q in zip(one.network.parameters(), before, strict=True))


def test_a_loss_that_is_not_finite_is_that_member_s_alone():
    problem = Three()
    fleet, batches = fleet_of(problem, ["equal"] * 3), batches_of(problem, 3)
    with torch.no_grad():
        fleet.stacked.parameters["network.size.bias"][1].fill_(float("inf"))
    fleet.micro_batch(next(batches.epoch(0)), Clock())
    fleet.step()
    assert list(fleet.failed) == [1]
    assert isinstance(fleet.failed[1], NonFiniteError)
    assert "'size'" in str(fleet.failed[1])
    fleet.drop([1])
    assert all(of.isfinite().all() for of in fleet.stacked.parameters.values())


def test_a_wrong_label_and_a_negative_loss_are_that_member_s_alone():
    problem = Three()
    batch = next(batches_of(problem, 3).epoch(0))
    fleet = fleet_of(problem, ["equal"] * 3)
    wrong = {**batch, "kind": batch["kind"].clone()}
    wrong["kind"][2, 5] = 7
    fleet.micro_batch(wrong, Clock())
    assert list(fleet.failed) == [2]
    assert isinstance(fleet.failed[2], LabelError)
    assert "was given 7" in str(fleet.failed[2]) or "one is 7" in str(fleet.failed[2])

    class Negative(Three):
        def outputs(self, network, batch):
            found = super().outputs(network, batch)
            found.terms["code"].values.sub_(1.0)
            return found

    fleet = fleet_of(Negative(), ["equal", "relobralo", "equal"])
    fleet.micro_batch(batch, Clock())
    assert list(fleet.failed) == [1]
    assert isinstance(fleet.failed[1], NonPositiveError)


def test_data_that_differ_in_shape_say_so():
    with pytest.raises(UnlikeError, match="data of one size, but they have 3 and 4 samples"):
        StackedBatches([TensorTable(x=torch.zeros(n, 2)) for n in (4, 3)], [0, 1], 2)
    with pytest.raises(UnlikeError, match=r"tensors of one shape, but one has \[2, 2\] and another \[2, 3\]"):
        stacked([{"x": torch.zeros(2, 2)}, {"x": torch.zeros(2, 3)}])
    with pytest.raises(UnlikeError, match="one layout"):
        stacked([{"x": torch.zeros(2)}, {"y": torch.zeros(2)}])
    with pytest.raises(UnlikeError, match=r"networks of one shape, but 'weight' is \[2, 3\] in one and \[2, 4\]"):
        Stacked([nn.Linear(3, 2), nn.Linear(4, 2)])


def test_equal_data_are_held_once():
    shared, problem = SharedData(), Three()
    first, second, other = (problem.datasets(seed)["train"] for seed in (0, 0, 1))
    assert shared.one("train", first) is shared.one("train", second) is first
    assert shared.one("train", other) is other
    assert shared.one("val", second) is second


class Held(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value


def test_numbers_may_differ_wherever_they_stand_and_nothing_else_may():
    def closed(x):
        return lambda: x

    numbers = differing([Held({"a": [1.0, 2.0], "b": (3, "x")}), Held({"a": [1.0, 5.0], "b": (4, "x")})])
    assert {path: of.tolist() for path, of in numbers.items()} == {
        ("", "value", "a", 1): [2.0, 5.0],
        ("", "value", "b", 0): [3.0, 4.0],
    }
    assert differing([Held(closed(1.0)), Held(closed(1.0))]) == {}
    for one, other in (
        (closed(1.0), closed(2.0)),
        (True, False),
        ("a", "b"),
        ([1.0], [1.0, 2.0]),
        ({"a": 1.0}, {"b": 1.0}),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (1.0, None),
        ({1, 2}, {1, 3}),
    ):
        with pytest.raises(UnlikeError, match="may differ in numbers only"):
            differing([Held(one), Held(other)])


class Rounded(Weighting):
    """Gives other weights when it is mapped: it looks whether its number is a tensor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, signals):
        wrong = 2.0 if isinstance(self.factor, torch.Tensor) else 1.0
        return signals.values * self.factor * wrong


def test_a_weighting_that_says_something_else_when_mapped_is_called_one_by_one():
    problem = Three()
    made = [member(problem, seed, Rounded(1.0 + seed)) for seed in range(2)]
    fleet = Fleet(made)
    assert [party.mapped for _, party in fleet.parties] == [True]
    fleet.micro_batch(next(batches_of(problem, 2).epoch(0)), Clock())
    assert [party.mapped for _, party in fleet.parties] == [False]
    assert fleet.parties[0][1].why == "it gives other weights"
    values, weights = fleet.weighed.losses.values, fleet.weighed.weights
    torch.testing.assert_close(weights, values * torch.tensor([[1.0], [2.0]]))


def test_one_weighting_alone_is_mapped_as_several_are():
    assert Party([Rounded(1.0).bind(["a"])]).mapped


def test_scalarizations_and_learned_are_called_at_once():
    """They differentiate, which is done by other means within ``vmap``."""
    problem = Three()
    kinds = {name: registry.load("weighting", name) for name in registry.names("weighting")}
    names = [name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Scalarization)]
    assert len(names) >= 5
    for name in [*names, "learned"]:
        fleet, batches = fleet_of(problem, [name] * 2), batches_of(problem, 2)
        for step, batch in enumerate(batches.epoch(0)):
            fleet.micro_batch(batch, Clock(step))
            fleet.step()
        assert [(party.mapped, party.why) for _, party in fleet.parties] == [(True, "")], name

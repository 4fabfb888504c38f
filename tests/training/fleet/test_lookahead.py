"""Weightings that learn from the outcome of a step, in a fleet and alone."""

import pytest
import torch
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.loss import Loss
from autoloss.training.fleet.batches import StackedBatches
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.forward import StackedForward
from autoloss.training.fleet.stacked import UnlikeError
from tests.training.fleet.equality import OPTIMIZERS, check, double  # noqa: F401 - a fixture
from tests.training.fleet.trainings import BATCH, Three, member, train_fleet

AHEAD = ["famo", {"name": "coba", "warmup": 2}, "auto_lambda", "learned"]
LEARNS = {"name": "auto_lambda", "lr": 0.1}
pytestmark = pytest.mark.usefixtures("double")


def name_of(weighting):
    return weighting if isinstance(weighting, str) else weighting["name"]


@pytest.mark.parametrize("weighting", AHEAD, ids=name_of)
def test_windows(weighting):
    """The last window of an epoch is shorter, and a loss is absent from its last batch."""
    check(lambda problem, seed: member(problem, seed, weighting), Three(missing=True), accumulate=2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_derivative_of_every_optimizer(name):
    # Weights are float32: one that is rounded the other way moves a parameter by this much.
    problem = Three(normalised=True)
    check(lambda problem, seed: member(problem, seed, LEARNS, OPTIMIZERS[name]), problem, tolerance=1e-8)


@pytest.mark.parametrize("clip", [Clip(norm=0.5), Clip(value=0.05)], ids=["norm", "value"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_clipped_gradient(clip, accumulate):
    def optimizer(of, seed):
        return torch.optim.SGD(of, lr=0.05, momentum=0.5)

    check(lambda problem, seed: member(problem, seed, LEARNS, optimizer), clip=clip, accumulate=accumulate)


@pytest.mark.parametrize("weighting", AHEAD, ids=name_of)
def test_base_weights_groups_primary_losses_and_schedules(weighting):
    def make(problem, seed):
        return member(
            problem,
            seed,
            weighting,
            base={"kind": 1.0 + seed, "size": "linear(0.5,1)" if seed else 0.7, "both": 0.5 + seed},
            groups={"both": ["kind", "code"]},
            primary=["size", "code"],
            scheduler=lambda of: torch.optim.lr_scheduler.CosineAnnealingLR(of, T_max=12),
        )

    check(make, own_data=True)


@pytest.mark.parametrize("n", [1, 2], ids=["each", "every second"])
def test_a_weighting_does_not_see_the_outcome_that_another_needs(n):
    """And with wrappers whose numbers differ, so that a step is looked at for some members only."""
    names = ["gradnorm", "famo", "equal", "auto_lambda", "learned", "uncertainty"]
    check(
        lambda problem, seed: member(
            problem, seed, {"name": names[seed], "wrap": [{"every_n": {"n": n + seed % 2}}, {"ema": {"decay": 0.5}}]}
        ),
        Three(missing=True, aside=True),
        members=len(names),
    )


@pytest.mark.parametrize("inner", ["gradnorm", "auto_lambda", "famo"])
def test_one_weighting_that_measures_at_other_steps_in_each_member(inner):
    check(
        lambda problem, seed: member(problem, seed, {"name": inner, "wrap": [{"every_n": {"n": 1 + seed}}]}),
        Three(missing=True),
    )


def test_the_others_pay_nothing(monkeypatch):
    """Only the members that learn from the outcome are called again."""
    called = []
    call = StackedForward.__call__

    def counted(self, batch, clock, anchored, stacked=None, weights=None, **more):
        called.append(len((stacked or self.stacked).modules))
        return call(self, batch, clock, anchored, stacked, weights, **more)

    monkeypatch.setattr(StackedForward, "__call__", counted)
    problem = Three()
    members = [member(problem, seed, name) for seed, name in enumerate(["equal", "famo", "auto_lambda", "equal"])]
    fleet = Fleet(members)
    batch = next(StackedBatches([problem.datasets(0)["train"]] * 4, range(4), BATCH).epoch(0))
    fleet.micro_batch(batch, Clock())
    fleet.step()
    assert called == [4, 1, 1, 1]


class Dropping(Three):
    """Draws a dropout mask in each forward."""

    def network(self):
        network = super().network()
        network["trunk"].append(nn.Dropout(0.5))
        return network


@pytest.mark.parametrize("weighting", ["famo", "auto_lambda"])
def test_the_second_forward_drops_out_the_same(weighting):
    """With a learning rate of 0 nothing changes in a step, if the masks are the same."""
    problem = Dropping()

    def still(of, seed):
        return torch.optim.SGD(of, lr=0.0)

    members = [member(problem, seed, name, still) for seed, name in enumerate(["equal", weighting, weighting])]
    state = [one.player.weighting.state_dict() for one in members]
    before = [{name: of.clone() for name, of in one.items() if name in ("xi", "value")} for one in state]
    train_fleet(members, [problem.datasets(0)["train"]] * 3, epochs=2)
    for one, then in zip(members, before, strict=True):
        now = one.player.weighting.state_dict()
        assert all(torch.equal(now[name], of) for name, of in then.items())


def test_nothing_has_an_effect_on_the_training():
    """Running statistics, random generators and gradients are what they are without a look-ahead."""
    problem = Three(normalised=True)
    states = []
    for name in ("equal", "famo", "auto_lambda"):
        members = [member(problem, seed, {"name": name, "lr": 1e-17} if name != "equal" else name) for seed in (0, 1)]
        torch.manual_seed(7)
        fleet = Fleet(members)
        batch = next(StackedBatches([problem.datasets(0)["train"]] * 2, range(2), BATCH).epoch(0))
        fleet.micro_batch(batch, Clock())
        buffers = {key: of.clone() for key, of in fleet.stacked.buffers.items()}
        fleet.step()
        assert all(torch.equal(of, buffers[key]) for key, of in fleet.stacked.buffers.items())
        assert all(of.grad is None for of in fleet.stacked.parameters.values())
        states.append(torch.get_rng_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


class Counting(Three):
    """Gives other losses each time that it is called: a look-ahead cannot compute those of the step again."""

    def outputs(self, network, batch):
        found = super().outputs(network, batch)
        self.calls += 1
        found.terms["code"].values.mul_(1.0 + self.calls)
        return found


def test_losses_that_are_not_those_of_the_step_are_an_error():
    problem = Counting()
    with pytest.raises(Exception, match="must compute the losses of the step again, but 'code'"):
        train_fleet([member(problem, seed, "auto_lambda") for seed in (0, 1)], [problem.datasets(0)["train"]] * 2)


def test_a_weighting_that_learns_from_held_out_data_needs_some():
    problem = Three()
    made = [member(problem, seed, "coba") for seed in (0, 1)]
    made[1].held_out = None
    with pytest.raises(UnlikeError, match="'coba' needs held-out data, but the member has none"):
        Fleet(made)


@pytest.mark.parametrize("weighting", AHEAD, ids=name_of)
def test_a_member_that_fails_takes_no_other_with_it(weighting):
    problem = Three(missing=True)
    members = [member(problem, seed, weighting) for seed in range(3)]
    fleet = Fleet(members)
    batches = StackedBatches([problem.datasets(0)["train"]] * 3, range(3), BATCH)
    with torch.no_grad():
        fleet.stacked.parameters["network.size.bias"][1].fill_(float("inf"))
    step = 0
    for batch in batches.epoch(0):
        fleet.micro_batch(batch, Clock(step))
        fleet.step()
        step += 1
        if fleet.failed:
            assert list(fleet.failed) == [1]
            fleet.drop([1])
            batches.keep([0, 2])
            break
    assert len(fleet) == 2
    for batch in batches.epoch(1):
        fleet.micro_batch(batch, Clock(step, 1))
        fleet.step()
        step += 1
    assert not fleet.failed
    assert all(of.isfinite().all() for of in fleet.stacked.parameters.values())
    assert all(buffer.isfinite().all() for one in fleet.members for name, buffer in one.player.weighting.state_dict().items() if name in ("xi", "value", "rule"))  # fmt: skip


class Shifted(Loss):
    """Squared errors less a number."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def forward(self, prediction, target):
        return (prediction - target).square().mean(1) - self.shift


def test_a_held_out_loss_without_a_logarithm_ends_its_member_alone():
    problem = Three()
    members = [member(problem, seed, "auto_lambda") for seed in range(3)]
    for m, one in enumerate(members):
        one.losses["size"] = Shifted(1e6 if m == 1 else 0.0)
    fleet = Fleet(members)
    batches = StackedBatches([problem.datasets(0)["train"]] * 3, range(3), BATCH)
    fleet.micro_batch(next(batches.epoch(0)), Clock())
    fleet.step()
    assert list(fleet.failed) == [1]
    assert "'size' is -" in str(fleet.failed[1])
    fleet.drop([1])
    fleet.micro_batch(next(StackedBatches([problem.datasets(0)["train"]] * 2, range(2), BATCH).epoch(0)), Clock(1))
    fleet.step()
    assert fleet.failed == {}

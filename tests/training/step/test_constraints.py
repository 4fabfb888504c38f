"""Bounds: the fixed point is a KKT point, whatever weighs the losses and however the step is made."""

import copy
import warnings

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import AutolossError, ConstraintWarning

A = torch.tensor([3.0, 4.0])


def losses_at(x):
    """Half the squared distances from A, at 5 from the origin, and from the origin."""
    return {"f": (x - A).square().sum() / 2, "g": x.square().sum() / 2}


def trained(constraints, steps=500, lr=0.05, balancer=None, **options):
    """The point that SGD ends at, the balancer, and the slack after each step."""
    x = torch.zeros(2, requires_grad=True)
    balancer = balancer or Balancer(["f", "g"], "equal", constraints=constraints, **options)
    optimizer, slacks = torch.optim.SGD([x], lr), []
    for _ in range(steps):
        balancer(losses_at(x)).backward()
        optimizer.step()
        optimizer.zero_grad()
        slacks.append(float(balancer.player.constraints.slacks()[0]) if constraints else 0.0)
    return x.detach(), balancer, torch.tensor(slacks)


def multiplier(balancer, name="g.max"):
    return balancer.player.constraints.shown()[name]["multiplier"]


@pytest.mark.parametrize("bound", [0.5, 2.0])
@pytest.mark.parametrize("goal", [True, False])
def test_a_quadratic_ends_at_its_kkt_point(bound, goal):
    """min |x - a|^2 / 2 (+ |x|^2 / 2 as a goal) with |x|^2 / 2 <= b: x = a / (1 + L), where |x| = sqrt(2 b)."""
    x, balancer, _ = trained({"g": {"max": bound, "goal": goal}})
    whole = 5 / (2 * bound) ** 0.5 - 1
    assert multiplier(balancer) == pytest.approx(whole - goal, rel=2e-3)
    assert x.tolist() == pytest.approx((A / (1 + whole)).tolist(), rel=2e-3)
    assert balancer.weights["g"] == pytest.approx(whole, rel=2e-3)


def test_a_lower_bound_of_a_loss_takes_weight_from_it():
    x, balancer, _ = trained({"g": {"min": 8.0}})
    assert x.square().sum() / 2 == pytest.approx(8.0, rel=2e-3)
    assert multiplier(balancer, "g.min") == pytest.approx(1 - (5 / 4 - 1), rel=5e-3)


def test_a_loss_is_kept_between_two_bounds():
    for start, held in ((0.2, 1.0), (3.0, 2.0)):
        x, _, _ = trained({"g": {"min": 1.0, "max": 2.0}}, base={"f": start})
        assert x.square().sum() / 2 == pytest.approx(held, rel=2e-2)


def test_the_base_weight_and_the_weighting_multiply_it():
    """The multiplier is relative to the weight that the loss has without it."""
    x, balancer, _ = trained({"g": {"max": 0.5}}, base={"g": 0.1})
    assert balancer.weights["g"] == pytest.approx(4.0, rel=2e-3)
    assert 0.1 * (1 + multiplier(balancer)) == pytest.approx(4.0, rel=2e-3)
    assert x.square().sum() / 2 == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize("weighting", ["uncertainty", "geometric", "rlw", "scale_invariant"])
def test_a_bound_holds_beside_other_weightings(weighting):
    """Losses far from 0, so that their logarithms have one minimum."""
    torch.manual_seed(0)
    x = torch.zeros(2, requires_grad=True)
    balancer = Balancer(["f", "g"], weighting, constraints={"g": {"max": 20.5, "rate": 1.0, "damping": 10.0}})
    optimizer, ends = torch.optim.SGD([x], 0.2 if weighting in ("geometric", "scale_invariant") else 0.02), []
    for _ in range(400):
        found = losses_at(x)
        balancer({"f": found["f"] + 20, "g": found["g"] + 20}).backward()
        optimizer.step()
        optimizer.zero_grad()
        ends.append(float(found["g"].detach()))
    assert torch.tensor(ends[-100:]).mean() == pytest.approx(0.5, rel=0.1)
    assert multiplier(balancer) > 0.5


def test_a_bound_in_a_group_changes_its_share_alone():
    x, balancer, _ = trained({"g": {"max": 0.5}}, groups={"both": ["f", "g"]})
    assert balancer.weights == pytest.approx({"f": 1.0, "g": 4.0}, rel=2e-3)
    assert x.square().sum() / 2 == pytest.approx(0.5, rel=2e-3)


def test_a_bound_that_is_met_changes_nothing():
    free, _, _ = trained(None)
    bound, balancer, slacks = trained({"g": {"max": 100.0}})
    assert torch.equal(free, bound)
    assert multiplier(balancer) == 0
    assert (slacks > 0).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_unit_of_a_loss_does_not_matter(scale):
    found = []
    for factor in (1.0, scale):
        balancer = Balancer(["f", "g"], "equal", base={"g": 1 / factor}, constraints={"g": {"max": 0.5 * factor}})
        x = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.SGD([x], 0.05)
        for _ in range(200):
            losses = losses_at(x)
            balancer({"f": losses["f"], "g": losses["g"] * factor}).backward()
            optimizer.step()
            optimizer.zero_grad()
        found.append(multiplier(balancer))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize(("lr", "momentum"), [(0.01, 0.0), (0.003, 0.0), (0.002, 0.9)])
def test_damping_prevents_oscillation(lr, momentum):
    """The plain ascent of the dual swings through the bound; the damped one comes to rest there."""

    def farthest(**options):
        x = torch.zeros(2, requires_grad=True)
        balancer = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.5, **options}})
        optimizer, found = torch.optim.SGD([x], lr, momentum=momentum), []
        for _ in range(400):
            losses = losses_at(x)
            balancer(losses).backward()
            optimizer.step()
            optimizer.zero_grad()
            found.append(abs(float(losses["g"].detach()) - 0.5))
        return max(found[-100:])

    assert farthest() < 0.05 * 0.5
    assert farthest(damping=0.0) > 3 * farthest()


@pytest.mark.parametrize("micro", [2, 5])
def test_accumulation_learns_what_one_batch_learns(micro):
    """Micro-batches of unequal size: the mean over the items of the window."""
    values = torch.rand(12, 2) + 0.5
    whole = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.3}})
    parts = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.3}}, accumulate=None)
    for _ in range(4):
        whole({"f": values[:, 0], "g": values[:, 1]})
        for part in (values[:micro], values[micro:]):
            parts({"f": part[:, 0], "g": part[:, 1]})
        parts.stepped()
    assert multiplier(parts) == pytest.approx(multiplier(whole), rel=1e-5)
    assert multiplier(whole) > 0


def test_a_skipped_step_and_an_absent_loss_teach_nothing():
    balancer = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.5}}, accumulate=None)
    balancer({"f": torch.tensor(1.0), "g": torch.tensor(2.0)})
    balancer.stepped(torch.tensor(False))
    balancer({"f": torch.tensor(1.0), "g": None})
    balancer.stepped()
    assert balancer.player.constraints.value.isnan().all()
    balancer({"f": torch.tensor(1.0), "g": torch.tensor(2.0)})
    balancer.stepped()
    assert multiplier(balancer) > 0


def test_resuming_is_exact():
    torch.manual_seed(0)
    _, balancer, _ = trained({"g": {"max": 0.5}, "error": {"max": 0.1, "loss": "f"}}, steps=30)
    balancer.measured({"error": 0.3})
    other = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.5}, "error": {"max": 0.1, "loss": "f"}})
    other.load_state_dict(copy.deepcopy(balancer.state_dict()))
    for _ in range(5):
        losses = {"f": torch.tensor(1.5), "g": torch.tensor(0.7)}
        assert torch.equal(balancer(losses), other(losses))
    assert balancer.player.constraints.shown() == other.player.constraints.shown()
    wrong = Balancer(["f", "g"], "equal", constraints={"f": {"max": 0.5}, "error": {"max": 0.1, "loss": "f"}})
    with pytest.raises(AutolossError, match="constraints that it was saved of"):
        wrong.load_state_dict(balancer.state_dict())


@pytest.mark.parametrize(("side", "bad", "good"), [("max", 0.2, 0.05), ("min", 0.05, 0.2)])
def test_a_metric_acts_on_the_loss_that_is_named(side, bad, good):
    bound = {"score": {side: 0.1, "loss": "f"}}
    balancer = Balancer(["f", "g"], "equal", constraints=bound)
    losses = {"f": torch.tensor(1.0), "g": torch.tensor(1.0)}
    balancer(losses)
    assert balancer.player.constraints.unseen() == [f"score.{side}"]
    grown = []
    for value in (bad, bad, bad, good, good, good, good, good):
        balancer.measured({"score": value, "other": 7.0})
        balancer(losses)
        grown.append(balancer.weights["f"])
        assert balancer.weights["g"] == 1
    assert grown[2] > grown[1] > grown[0] > 1
    assert grown[-1] == 1


def test_a_weight_of_a_fork_has_the_multiplier_in_the_head_too():
    trunk, heads = torch.nn.Linear(2, 3), {name: torch.nn.Linear(3, 1) for name in ("f", "g")}
    balancer = Balancer(["f", "g"], "equal", constraints={"g": {"max": 0.1}})
    for _ in range(3):
        fork = balancer.fork(trunk(torch.ones(4, 2)))
        balancer({name: head(fork[name]).square() + 1 for name, head in heads.items()}, anchor=fork).backward()
    grown = balancer.weights["g"]
    assert grown > 1.5
    assert balancer.weights["f"] == 1
    for part in (trunk, *heads.values()):
        part.zero_grad()
    fork = balancer.fork(trunk(torch.ones(4, 2)))
    found = {name: head(fork[name]).square() + 1 for name, head in heads.items()}
    balancer(found, anchor=fork).backward()
    got = heads["g"].bias.grad.clone()
    head = copy.deepcopy(heads["g"])
    head.zero_grad()
    (head(trunk(torch.ones(4, 2)).detach()).square() + 1).mean().backward()
    assert got.item() == pytest.approx(balancer.weights["g"] * head.bias.grad.item(), rel=1e-5)


def test_gradients_at_a_fork_are_measured_without_the_multiplier():
    """What a weighting sees of a loss does not depend on its multiplier."""
    torch.manual_seed(0)
    trunk, heads = torch.nn.Linear(2, 3), {name: torch.nn.Linear(3, 1) for name in ("f", "g")}
    seen = []
    for constraints in (None, {"g": {"max": 0.1, "start": 5.0}}):
        balancer = Balancer(["f", "g"], "mgda", constraints=constraints)
        fork = balancer.fork(trunk(torch.ones(4, 2)))
        balancer({name: head(fork[name]).square() + 1 for name, head in heads.items()}, anchor=fork).backward()
        seen.append(balancer.weights)
    assert seen[1]["f"] == pytest.approx(seen[0]["f"], rel=1e-5)
    assert seen[1]["g"] == pytest.approx(6 * seen[0]["g"], rel=1e-5)


def test_a_bound_that_cannot_be_met_is_said_once():
    balancer = Balancer(["f", "g"], "equal", constraints={"f": {"max": 0.1, "limit": 20.0, "rate": 0.5}})
    for _ in range(20):
        balancer({"f": torch.tensor(1.0), "g": torch.tensor(1.0)})
    assert balancer.weights["f"] == pytest.approx(21, rel=1e-3)
    with pytest.warns(ConstraintWarning, match=r"constraints.f.max=0.1 is not met with the largest multiplier, 20"):
        balancer.player.check()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        balancer.player.check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"h": {"max": 1.0}}, "constraints.h.loss names none. Write constraints.h.loss=f."),
        ({"h": {"max": 1.0, "loss": "e"}}, "No loss is called 'e'"),
        ({"g": 0.1}, "constraints.g is 0.1. Write constraints.g.max=0.1."),
        ({"g": {"mx": 0.1}}, "No key of constraints.g is called 'mx'. Did you mean 'max'?"),
        ({"g": {"rate": 0.1}}, "must have a max or a min, but constraints.g has none"),
        ({"g": {"max": "big"}}, "constraints.g.max must be a finite number, but it is 'big'"),
        ({"g": {"max": 1, "min": 2}}, "constraints.g.min must lie below constraints.g.max, but they are 2 and 1"),
        ({"g": {"max": 1, "rate": 0}}, "constraints.g.rate must be above 0"),
        ({"g": {"max": 1, "damping": -1}}, "constraints.g.damping must be at least 0"),
        ({"g": {"max": 1, "start": 5, "limit": 2}}, "constraints.g.start must lie between 0 and the limit, 2"),
        ({"g": {"max": 1, "goal": "no"}}, "constraints.g.goal must be true or false"),
        ({"g": {"min": 1, "goal": False}}, "constraints.g.goal=false needs a loss that is to fall"),
        ({"g": {"max": 1, "goal": False}, "e": {"max": 1, "loss": "g"}}, "act on 'g' must agree on `goal`"),
    ],
)
def test_mistakes_are_sentences(given, message):
    with pytest.raises(AutolossError) as caught:
        Balancer(["f", "g"], "equal", constraints=given)
    assert message in str(caught.value)


def test_a_loss_without_a_base_weight_has_no_multiplier():
    with pytest.raises(AutolossError, match="that of g is 0. Set base.g above 0"):
        Balancer(["f", "g"], "equal", base={"g": 0.0}, constraints={"g": {"max": 1.0}})

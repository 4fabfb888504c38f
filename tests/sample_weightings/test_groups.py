"""Group DRO against its definition, its fixed point, and data that it cannot use."""

import pytest
import torch

from autoloss import Balancer, Entry, Samples
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.sample_weightings.group_dro import GroupDro


def batch(losses, groups, epoch=0) -> Samples:
    values = torch.as_tensor(losses)
    return Samples("a", values, torch.ones_like(values, dtype=torch.bool), epoch=epoch, keys={"group": groups})


GROUPS = torch.tensor([0, 0, 0, 1, 1, 2])


def test_the_loss_is_that_of_the_groups_weighted_by_exponentiated_ascent():
    generator = torch.Generator().manual_seed(0)
    q = torch.full((3,), 1 / 3)
    rule = GroupDro(step=0.3, key="group").bind()
    for _ in range(20):
        losses = torch.rand(6, generator=generator)
        means = torch.stack([losses[g == GROUPS].mean() for g in range(3)])
        q = q * torch.exp(0.3 * means)
        q = q / q.sum()
        weights = rule(batch(losses, GROUPS))
        torch.testing.assert_close((weights * losses).mean(), (q * means).sum())
        rule.update(batch(losses, GROUPS))


def test_steady_losses_leave_the_worst_group_alone():
    losses = torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0, 1.5])
    rule = GroupDro(step=0.1, key="group").bind()
    for _ in range(400):
        rule.update(batch(losses, GROUPS))
    torch.testing.assert_close(rule(batch(losses, GROUPS)), torch.tensor([0.0, 0, 0, 3, 3, 0]), atol=1e-6, rtol=0)


def test_it_finds_the_parameter_that_is_best_for_the_worst_group():
    """Two groups want 0 and 1, nine to one: the mean wants 0.1, the worst group's minimum is 0.5."""
    wanted, groups = torch.tensor([0.0] * 9 + [1.0]), torch.tensor([0] * 9 + [1])
    rule = {"name": "group_dro", "key": "group", "step": 0.2}
    found = {}
    for weighting in ("uniform", rule):
        parameter = torch.zeros(1, requires_grad=True)
        balancer = Balancer(["a"], "equal", sample_weighting=weighting)
        optimizer = torch.optim.SGD([parameter], 0.02)
        tail = []
        for _ in range(3000):
            optimizer.zero_grad()
            balancer({"a": (parameter - wanted).square()}, keys={"group": groups}).backward()
            optimizer.step()
            tail.append(float(parameter.detach()))
        found[str(weighting)] = sum(tail[-1000:]) / 1000
    uniform, dro = found.values()
    assert uniform == pytest.approx(0.1, abs=0.01)
    assert dro == pytest.approx(0.5, abs=0.05)


def test_the_adjustment_raises_small_groups():
    losses = torch.ones(6)
    rule = GroupDro(step=1.0, key="group", adjustment=2.0).bind(60)
    q = torch.softmax(1 + 2 / torch.tensor([30.0, 20.0, 10.0]).sqrt(), 0)  # shares of 60 samples
    expected = 6 * q / torch.tensor([3.0, 2.0, 1.0])
    torch.testing.assert_close(rule(batch(losses, GROUPS)), expected[GROUPS])


def test_without_a_key_the_groups_are_the_classes():
    balancer = Balancer(["a"], "equal", sample_weighting={"name": "group_dro", "step": 1e-6})
    losses = torch.ones(4, requires_grad=True)
    balancer({"a": Entry(losses, labels=torch.tensor([0, 0, 0, 1]))}).backward()
    torch.testing.assert_close(4 * losses.grad, torch.tensor([2 / 3] * 3 + [2.0]), rtol=1e-4, atol=0)
    with pytest.raises(AutolossError, match="has no target of whole numbers"):
        balancer({"a": torch.ones(2)})


def test_a_group_that_is_seen_late_starts_with_the_largest_weight():
    rule = GroupDro(step=1.0, key="group").bind()
    for _ in range(5):
        rule.update(batch([1.0, 3.0], torch.tensor([0, 1])))
    q = rule(batch([0.0, 0.0, 0.0], torch.tensor([0, 1, 2]))) / 3
    assert q[2] == pytest.approx(float(q[1]))
    assert q[0] < 1e-3


def test_groups_that_are_missing_wrong_or_empty_are_named():
    balancer = Balancer(["a"], "equal", sample_weighting={"name": "group_dro", "key": "group", "groups": 3})
    balancer.set_epoch(0)
    with pytest.raises(AutolossError, match="No key of the data is called 'group'"):
        balancer({"a": torch.ones(2)})
    for wrong in (3.0, -1.0, 0.5):
        with pytest.raises(ConfigError, match="A group must be a whole number from 0 to 2, but one is"):
            balancer({"a": torch.ones(2)}, keys={"group": torch.tensor([0.0, wrong])})
    rule = GroupDro(key="group", groups=3).bind()
    rule.update(batch([1.0, 1.0], torch.tensor([0, 2])))
    with pytest.raises(ConfigError, match="Each of the 3 groups must have samples, but group 1 had none in the first"):
        rule.update(batch([1.0, 1.0], torch.tensor([0, 2]), epoch=1))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"step": 0.0}, "`step` must be above 0"),
        ({"groups": 1}, "`groups` must lie between 2 and 1e6"),
        ({"adjustment": -1.0}, "`adjustment` must be at least 0"),
        ({"key": ""}, "`key` must name a column"),
    ],
)
def test_wrong_parameters_are_named(parameters, said):
    with pytest.raises(ConfigError, match=said):
        GroupDro(**parameters)

"""The held-out objective: its gradient against the plainest form, and what it says of losses without a logarithm."""

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import NonPositiveError, UnknownNameError
from autoloss.core.table import LossTable
from autoloss.core.terms import Terms
from autoloss.training.step.held_out_objective import HeldOutObjective
from autoloss.training.step.nonfinite import NonFiniteWatch

NAMES = ("a", "b", "c", "d")


def gradient(losses, kind="log", base=None, groups=None, primary=()):
    """The gradient of the objective with respect to each of the ``losses``."""
    terms = Terms(NAMES, base, groups)
    objective = HeldOutObjective(terms, primary, kind, NonFiniteWatch(NAMES, units=terms.units).see_held_out)
    leaves = {name: torch.tensor(x, dtype=torch.float64, requires_grad=True) for name, x in losses.items()}
    value = objective.of(LossTable(dict(leaves)).reduced(NAMES))
    found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return torch.stack(list(found)).tolist()


@pytest.mark.parametrize("primary", [(), ("a",), ("b", "d")])
@pytest.mark.parametrize("present", [NAMES, ("a", "b", "d")])
@pytest.mark.parametrize("kind", ["log", "sum"])
def test_its_gradient_is_that_of_the_formula(kind, present, primary):
    losses = {name: 0.3 * 10.0**i for i, name in enumerate(NAMES) if name in present}
    base, groups = {"a": 0.5, "b": 3.0, "both": 2.0}, {"both": ["b", "c"]}
    x = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in losses.items()}
    factors = {"a": 0.5, "b": 6.0, "c": 2.0, "d": 1.0}
    parts = {name: factors[name] * x[name] for name in present if name in (primary or NAMES)}
    units = [sum(parts[name] for name in unit if name in parts) for unit in (["a"], ["b", "c"], ["d"])]
    units = [unit for unit in units if isinstance(unit, torch.Tensor)]
    value = sum(unit.log() if kind == "log" else unit for unit in units)
    wanted = torch.autograd.grad(value, list(x.values()), allow_unused=True, materialize_grads=True)
    assert gradient(losses, kind, base, groups, primary) == pytest.approx(torch.stack(list(wanted)).tolist(), rel=1e-12)


def test_the_scale_of_a_loss_and_of_its_base_weight_do_not_matter():
    plain = gradient({"a": 2.0, "b": 0.5, "c": 1.0, "d": 3.0})
    other = gradient({"a": 2e6, "b": 0.5e-6, "c": 1.0, "d": 3.0}, base={"b": 1e6, "d": 1e-3})
    assert [other[0] * 1e6, other[1] * 1e-6, *other[2:]] == pytest.approx(plain, rel=1e-12)


def test_a_loss_of_0_and_one_whose_base_weight_is_0_have_no_part():
    losses = {"a": 0.0, "b": 4.0, "c": 1e-300, "d": 2.0}
    assert gradient(losses, base={"b": 0.0}) == [0.0, 0.0, pytest.approx(1e300), 0.5]


def one_step(objective, primary=()):
    """A step whose held-out loss ``a`` is -0.25."""
    net = torch.nn.Linear(1, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    balancer = Balancer("ab", "auto_lambda")

    def losses(net):
        out = net(torch.ones(3, 1)).square()
        return {"a": out[:, 0], "b": out[:, 1]}

    def held_out(net):
        found = losses(net)
        return {**found, "a": found["a"] - found["a"].detach() - 0.25}

    with balancer.lookahead(net, optimizer, train=losses, held_out=held_out, objective=objective, primary=primary):
        balancer(losses(net)).backward()
        optimizer.step()
    return balancer.player.weighting.value.tolist()


def test_a_negative_loss_is_one_sentence_and_has_a_sum():
    with pytest.raises(
        NonPositiveError, match=r"must be at least 0, but loss 'a' is -0.25. Set held_out.objective=sum"
    ):
        one_step("log")
    assert one_step("sum")[0] != 0
    assert one_step("log", primary=["b"])[1] != 0
    with pytest.raises(UnknownNameError, match="No held-out objective is called 'lgo'. Did you mean 'log'"):
        one_step("lgo")


@pytest.mark.gpu
def test_on_an_accelerator_the_error_comes_with_the_next_check():
    watch = NonFiniteWatch(NAMES, units=NAMES)
    for row in ([1.0, 2.0, 3.0, 4.0], [1.0, -2.0, 3.0, 4.0], [1.0, 2.0, float("nan"), 4.0]):
        watch.see_held_out(torch.tensor(row, device="cuda"))
    with pytest.raises(NonPositiveError, match="loss 'b' is -2"):
        watch.check()
    watch.check()

"""Penalties in a training: which parameters they are of, what they add, and that they stay out of the balance."""

import pytest
import torch
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.losses.mse import Mse
from autoloss.training.lightning.multitask import MultiTaskModule
from autoloss.training.step.build import build_weighting
from autoloss.training.step.penalties import Penalties


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"trunk": nn.Linear(4, 3), "norm": nn.LayerNorm(3), "head": nn.Linear(3, 2)})


def values(given: dict, net: nn.Module, progress: float = 0.0) -> dict[str, float]:
    penalties = Penalties(given).bind(net)
    penalties.follow(progress)
    return {name: entry.values.item() for name, entry in penalties.entries(net).items()}


def half_square(*tensors: torch.Tensor) -> float:
    return sum(t.square().sum().item() / 2 for t in tensors)


PLAIN = {"name": "sparsity", "alpha": 0.0}


def test_all_weight_matrices_or_those_that_are_named() -> None:
    net = network()
    trunk, head = net["trunk"], net["head"]
    assert values({"a": PLAIN}, net)["a"] == pytest.approx(half_square(trunk.weight, head.weight))
    assert values({"a": {**PLAIN, "on": "trunk"}}, net)["a"] == pytest.approx(half_square(trunk.weight))
    named = {**PLAIN, "on": ["head", "trunk.bias"]}
    assert values({"a": named}, net)["a"] == pytest.approx(half_square(head.weight, trunk.bias))


def test_what_is_frozen_takes_no_part() -> None:
    net = network()
    net["trunk"].weight.requires_grad_(False)
    assert values({"a": PLAIN}, net)["a"] == pytest.approx(half_square(net["head"].weight))


def test_a_number_is_the_factor_and_a_schedule_may_be_one() -> None:
    net = network()
    plain = values({"orthogonality": None, "sparsity": 1.0}, net)
    assert list(plain) == ["sparsity"]
    assert values({"sparsity": 0.1}, net)["sparsity"] == pytest.approx(0.1 * plain["sparsity"])
    rising = {"sparsity": {"factor": "linear(0,0.4)", "alpha": "linear(0,1)"}}
    expected = values({"sparsity": {"factor": 0.2, "alpha": 0.5}}, net)["sparsity"]
    assert values(rising, net, 0.0)["sparsity"] == 0.0
    assert values(rising, net, 0.5)["sparsity"] == pytest.approx(expected)


class Lines(Problem):
    """Two lines from four numbers."""

    terms = {"a": "mse", "b": "mse"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        raise NotImplementedError

    def network(self):
        return network()

    def outputs(self, net, batch):
        features = net["norm"](net["trunk"](batch))
        a, b = net["head"](features).unbind(1)
        return Outputs({"a": Term(a, batch[:, 0]), "b": Term(b, batch[:, 1])}, features)

    def measure(self, outputs):
        raise NotImplementedError


class Timeless(MultiTaskModule):
    """Without a Trainer that would say where training stands."""

    clock = Clock()


def made(weighting="equal", **more) -> MultiTaskModule:
    losses = {"a": Mse(), "b": Mse()}
    return Timeless(Lines(), losses, build_weighting(weighting), torch.optim.Adam, **more)


@pytest.mark.parametrize("weighting", ["equal", "gradnorm", "uncertainty", "mgda"])
def test_a_penalty_adds_its_gradient_and_changes_no_weight(weighting: str) -> None:
    batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    without, with_it = made(weighting), made(weighting, penalties={"sparsity": 0.3}, base={"sparsity": 2.0})
    totals, gradients = [], []
    for module in (without, with_it):
        table = module.table(module.problem.outputs(module.network, batch))
        weighed = module.player.step(table, Clock())
        weighed.total.backward()
        totals.append(weighed)
        gradients.append(module.network["trunk"].weight.grad)
    torch.testing.assert_close(totals[1].weights[:2], totals[0].weights)
    assert totals[1].weights[2].item() == pytest.approx(2.0)
    assert not totals[1].signals.present[2]
    w = with_it.network["trunk"].weight.detach()
    torch.testing.assert_close(gradients[1] - gradients[0], 0.6 * (w.sign() + w))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"sparsty": 1.0}, UnknownNameError, "No penalty is called 'sparsty'. Did you mean 'sparsity'"),
        ({"sparsity": {"alpah": 1.0}}, UnknownNameError, "Did you mean 'alpha'"),
        ({"sparsity": -1.0}, ConfigError, r"penalties.sparsity.factor must be at least 0, but it is -1"),
        ({"sparsity": "linear(0,-1)"}, ConfigError, "must be at least 0, but it is linear"),
        ({"sparsity": [1]}, ConfigError, "must be a number or a schedule"),
        ({"sparsity": {"on": "trnk"}}, ConfigError, "there is no 'trnk'. The parameters are: trunk.weight, trunk.bias"),
        ({"sparsity": {"on": "norm"}}, ConfigError, "must have weight matrices to act on"),
        ({"a": {"name": "sparsity"}}, ConfigError, "must have a name of its own, but there is a loss 'a'"),
    ],
)
def test_what_cannot_be_built_is_named(given: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Penalties(given, Lines.terms).bind(network())

"""What a weighting must keep is checked when it is bound and at its first step; state belongs to names in an order."""

import copy
import warnings

import pytest
import torch
from torch import nn

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.need import Need
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.core.weighting import Weighting
from autoloss.training.balancer import Balancer

LOSSES = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}


class OneForAll(Weighting):
    def forward(self, signals):
        return torch.ones(1)


class NoTensor(Weighting):
    def forward(self, signals):
        return [1.0, 1.0]


class Writes(Weighting):
    def allocate(self, size):
        self.add_state("mean", torch.ones(size), axes=1)

    def forward(self, signals):
        self.mean.mul_(0.5).add_(signals.values, alpha=0.5)
        return self.mean.clone()


class Replaces(Writes):
    def forward(self, signals):
        self.mean = 0.5 * (self.mean + signals.values)
        return self.mean


class Registers(Weighting):
    def forward(self, signals):
        self.register_buffer("first", signals.values.clone())
        return signals.values


class Trains(Weighting):
    def allocate(self, size):
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, signals):
        return self.scale


@pytest.mark.parametrize(
    ("weighting", "said"),
    [
        (OneForAll, r"one weight for each loss, \[2\] for a, b, but 'OneForAll' gave \[1\]"),
        (NoTensor, "gave of type list"),
        (Writes, "forward must write no state, but that of weighting 'Writes' wrote mean. Write it in update."),
        (Replaces, "wrote mean"),
        (Registers, "wrote first"),
    ],
)
def test_a_weighting_that_breaks_its_contract_is_an_error_at_the_first_step(weighting, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Balancer(["a", "b"], weighting())(LOSSES)


def test_parameters_are_an_error_at_once() -> None:
    with pytest.raises(ConfigError, match="must hold no parameters, but 'Trains' has scale"):
        Balancer(["a", "b"], Trains())


def test_inside_a_wrapper_too() -> None:
    wrapped = registry.build("wrapper", "ema", Writes())
    with pytest.raises(ConfigError, match="wrote inner.mean"):
        Balancer(["a", "b"], wrapped)(LOSSES)


def test_the_wrong_shape_is_an_error_in_a_fork() -> None:
    balancer = Balancer(["a", "b"], OneForAll())
    fork = balancer.fork(torch.ones(3, 2, requires_grad=True))
    total = balancer({"a": fork["a"].square().mean(), "b": fork["b"].abs().mean()}, anchor=fork)
    with pytest.raises(ConfigError, match="one weight for each loss"):
        total.backward()


# --- names


@pytest.mark.parametrize("names", [["b", "a"], ["a", "c"]])
def test_state_of_other_names_or_another_order_is_an_error(names: list[str]) -> None:
    state = Balancer(["a", "b"], "dwa").state_dict()
    other = Balancer(names, "dwa")
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(ConfigError, match=f"it is of a, b and these are {', '.join(names)}"):
        other.load_state_dict(state)
    for key, value in other.state_dict().items():
        torch.testing.assert_close(value, before[key], equal_nan=True, rtol=0, atol=0)


def test_state_of_other_groups_is_an_error() -> None:
    names = ["a", "b", "c"]
    state = Balancer(names, "dwa", groups={"g": ["a", "b"]}).state_dict()
    with pytest.raises(ConfigError, match="units that it was saved of"):
        Balancer(names, "dwa", groups={"h": ["b", "c"]}).load_state_dict(state)


def test_state_inside_a_model_is_checked_too() -> None:
    def model(names):
        made = nn.Module()
        made.balancer = Balancer(names, "equal")
        return made

    with pytest.raises(ConfigError, match="in the same order"):
        model(["b", "a"]).load_state_dict(model(["a", "b"]).state_dict())
    model(["a", "b"]).load_state_dict(model(["a", "b"]).state_dict())


def test_state_of_0_1_0_has_no_names_and_loads() -> None:
    one, other = Balancer(["a", "b"], "dwa"), Balancer(["b", "a"], "dwa")
    one(LOSSES)
    state = {key: value for key, value in one.state_dict().items() if "order" not in key}
    other.load_state_dict(state, strict=True)
    assert other.calls == 1


def test_names_are_no_buffer_that_an_average_would_change() -> None:
    balancer = Balancer(["a", "b"], "equal")
    assert not [name for name, _ in balancer.named_buffers() if "order" in name]
    assert all(isinstance(value, torch.Tensor) for value in balancer.state_dict().values())
    copy.deepcopy(balancer).load_state_dict(balancer.state_dict())


def test_a_mapping_is_names_with_base_weights() -> None:
    mapped, listed = Balancer({"a": 1.0, "b": 0.1}, "equal"), Balancer(["a", "b"], "equal", base={"b": 0.1})
    assert torch.equal(mapped(LOSSES), listed(LOSSES))
    assert mapped.weights == listed.weights
    grouped = Balancer({"a": 1.0, "b": 0.1}, "equal", base={"g": 2.0}, groups={"g": ["a", "b"]})
    assert grouped.player.terms.base == (2.0, 0.2)


def test_two_base_weights_a_set_and_what_is_no_weight_are_errors() -> None:
    with pytest.raises(ConfigError, match="one base weight, but b has two"):
        Balancer({"a": 1.0, "b": 0.1}, "equal", base={"b": 2.0})
    with pytest.raises(ConfigError, match="have an order"):
        Balancer({"a", "b"}, "equal")
    with pytest.raises(ConfigError, match="finite and not negative"):
        Balancer({"a": "high"}, "equal")
    with pytest.raises(UnknownNameError):
        Balancer({"a": 1.0}, "equal")({"c": LOSSES["a"]})


# --- losses that do not reach the anchor any more


def stepped(balancer: Balancer, detached: bool, absent: bool = False) -> list[str]:
    features = torch.randn(4, 3, requires_grad=True)
    other = (features.detach() if detached else features).abs().mean() * torch.ones((), requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        balancer({"a": features.square().mean(), "b": None if absent else other}, anchor=features)
    return [str(one.message) for one in caught if "reach the anchor" in str(one.message)]


def test_the_first_loss_that_does_not_reach_the_anchor_any_more_is_said_once() -> None:
    balancer = Balancer(["a", "b"], "mgda")
    assert not stepped(balancer, False)
    assert not stepped(balancer, True, absent=True)
    said = stepped(balancer, True)
    assert len(said) == 1
    assert "'b' should reach the anchor as before, but at step 2 it does not" in said[0]
    assert not stepped(balancer, True)


@pytest.mark.parametrize("weighting", ["mgda", "graddrop", "equal"])
def test_through_a_fork_the_same_is_said_once(weighting: str) -> None:
    balancer = Balancer(["a", "b"], weighting)

    def step(detached: bool, absent: bool = False) -> list[str]:
        features = torch.randn(4, 3, requires_grad=True)
        fork = balancer.fork(features)
        other = (fork["b"].detach() if detached else fork["b"]).abs().mean() * torch.ones((), requires_grad=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            balancer({"a": fork["a"].square().mean(), "b": None if absent else other}, anchor=fork).backward()
        return [str(one.message) for one in caught if "reach the anchor" in str(one.message)]

    assert not step(False)
    assert not step(True, absent=True)
    said = step(True)
    assert len(said) == 1
    assert "'b' should reach the anchor as before, but at step 2 it does not" in said[0]
    assert not step(True)


@pytest.mark.parametrize("kwargs", [{}, {"unbalanced": ["b"]}])
def test_a_loss_that_never_did_or_need_not_is_not_said(kwargs) -> None:
    balancer = Balancer(["a", "b"], "mgda", **kwargs)
    steps = [False, True, True] if kwargs else [True, True]
    assert not [said for detached in steps for said in stepped(balancer, detached)]


@pytest.mark.parametrize("name", registry.names("weighting"))
def test_every_weighting_keeps_its_contract(name: str) -> None:
    """Through the checks of the first step, and again with a state that was loaded."""
    given = {"ol_aux": {"main": "b"}, "gradient_cosine": {"main": "b"}, "vqgan": {"adversarial": "a"}}
    balancer = Balancer(["a", "b"], {"name": name, **given.get(name, {})})
    if isinstance(balancer.player.weighting, Surgery) or balancer.player.looks_ahead(0):
        return
    if Need.KERNEL in balancer.player.weighting.needs:
        pytest.skip("kernels need the loss of each sample, and these losses are single numbers")
    for _ in range(2):
        stepped(balancer, False)
    copy.deepcopy(balancer.player.weighting)
    balancer.load_state_dict(balancer.state_dict())

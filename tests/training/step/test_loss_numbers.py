"""Hypergradients of numbers inside losses, against the unrolled step differentiated twice, in float64."""

import copy
import warnings

import pytest
import torch

from autoloss import Balancer, build
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.loss import Loss
from autoloss.core.schedules.learned_numbers import parse_learned
from autoloss.core.table import Entry
from autoloss.training.step.loss_numbers import SELDOM, LossNumbers
from tests.training.step.test_clipped import CLIPS, factor
from tests.training.step.unrolled import OPTIMIZERS, adam, setting, sgd

NAMES = ("a", "b", "c")
LEARNED = {
    "a": {"name": "generalised_cross_entropy", "q": "learned"},
    "b": {"name": "poly", "e1": "learned", "e2": "learned", "e3": "learned", "gamma": "learned(0.5)"},
    "c": {
        "name": "logit_adjusted",
        "priors": [3, 2, 1],
        "tau": "learned(1, 0, inf)",
        "offsets": ["learned(0.1, -inf, inf)", 0.0, "learned(0, -5, 5)"],
    },
}
BASE = 0.5
FIXED = {name: build("loss", node["name"]) for name, node in LEARNED.items()}


def entries(net, x, losses):
    """Each loss of the same logits, one of them masked, from a network with BatchNorm and dropout."""
    logits, target = torch.stack(net(x), 1), (3 * x[:, 0].sigmoid()).long().clamp(max=2)
    found = {name: Entry(losses[name](logits, target)) for name in NAMES}
    found["b"] = Entry(found["b"].values, x[:, 1] > -0.5)
    return found


def scalars(found):
    return torch.stack([e.values.mean() if e.mask is None else e.values[e.mask].mean() for e in found.values()])


def expected(net, optimizer, parts, held, losses, numbers, weights, factors):
    """d held_out(p') / d numbers, the step unrolled, its gradient brought back to the length that it has."""
    values, parameters = numbers.values.clone().requires_grad_(), list(net.parameters())
    numbers.write(values.unbind())
    totals = [(scalars(entries(net, x, losses)) * weights).sum() for x in parts]
    gradients = torch.autograd.grad(torch.stack(totals).mean(), parameters, create_graph=True, allow_unused=True)
    length = torch.stack([g.square().sum() for g in gradients if g is not None]).sum().sqrt()
    kept = [None if g is None else g * (length.detach() / length) for g in gradients]
    clipped = [None if g is None else g * f for g, f in zip(kept, factors, strict=True)]
    unroll = sgd if isinstance(optimizer, torch.optim.SGD) else adam
    moved = unroll(optimizer, [p.detach() for p in parameters], clipped)
    named = {name: p for (name, _), p in zip(net.named_parameters(), moved, strict=True)}
    numbers.write()
    outputs = scalars(entries(lambda x: torch.func.functional_call(net, named, (x,)), held, FIXED))
    return torch.autograd.grad((outputs * torch.tensor([1.0, BASE, 1.0])).sum(), values)[0]


def steps_of(which, weighting="equal", clip=None, micro_batches=1, steps=3, wrap=lambda losses: losses):
    """Of each step: what the numbers are told, and what the unrolled step gives."""
    net, optimizer = setting(which)
    losses = {name: build("loss", node) for name, node in LEARNED.items()}
    balancer = Balancer(NAMES, weighting, base={"b": BASE}, accumulate=micro_batches, learned=losses)
    numbers, told, wanted = balancer.player.numbers, [], []
    learn = numbers.learn
    numbers.learn = lambda stepped: (told.append(numbers.gradient), learn(stepped))
    for _ in range(steps):
        parts, held = torch.randn(micro_batches, 16, 4).double(), torch.randn(12, 4).double()
        before, state = copy.deepcopy((net, optimizer))
        optimizer.zero_grad()
        for i, x in enumerate(parts, 1):
            with balancer.lookahead(
                net,
                optimizer,
                train=lambda net, x=x: entries(net, x, wrap(losses)),
                held_out=lambda net, held=held: entries(net, held, FIXED),
                objective="sum",
            ):
                (balancer(entries(net, x, wrap(losses))) / micro_batches).backward()
                if i < micro_batches:
                    continue
                raw = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
                if clip is not None:
                    clip(net)
                pairs = zip(net.parameters(), raw, strict=True)
                factors = [1.0 if g is None else factor(g, p.grad) for p, g in pairs]
                weights = balancer.player.last.double()
                wanted.append(expected(before, state, parts, held, losses, numbers, weights, factors))
                optimizer.step()
    assert len(told) == steps
    return told, wanted, balancer


@pytest.mark.parametrize("weighting", ["equal", "auto_lambda"])
@pytest.mark.parametrize("which", OPTIMIZERS)
def test_the_hypergradient_of_each_number_equals_the_unrolled_step(which, weighting):
    told, wanted, balancer = steps_of(which, weighting, steps=3 if weighting == "equal" else SELDOM + 1)
    # Beside weights, which need a derivative of their own, numbers learn from few steps.
    learns = [i for i, one in enumerate(told) if one is not None]
    assert learns == ([0, 1, 2] if weighting == "equal" else [0, SELDOM])
    for i in learns:
        torch.testing.assert_close(told[i], wanted[i], rtol=1e-8, atol=1e-14)
        assert (wanted[i] != 0).all()
    weights = balancer.player.last / torch.tensor([1.0, BASE, 1.0])
    assert (weights != 1).any() == (weighting == "auto_lambda")


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("which", ["momentum", "adam"])
def test_clipping_and_accumulation_are_part_of_it(which, micro_batches, clip):
    told, wanted, _ = steps_of(which, "equal", CLIPS[clip], micro_batches)
    for one, other in zip(told, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-14)


class Opaque(torch.autograd.Function):
    """Its own input; it has no forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_without_a_forward_derivative_it_is_a_central_difference():
    def opaque(losses):
        return {name: lambda z, t, loss=loss: Opaque.apply(loss(z, t)) for name, loss in losses.items()}

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        told, wanted, balancer = steps_of("sgd", wrap=opaque)
    assert any("central differences" in str(one.message) for one in seen)
    assert not balancer._look_ahead.slopes.exact
    for one, other in zip(told, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)


def learned(text, name="generalised_cross_entropy", key="q"):
    return build("loss", {"name": name, key: text})


def one_step(balancer, loss, net, optimizer, held_out=None):
    x, y = torch.randn(16, 4), torch.randint(3, (16,))
    held_out = held_out or (lambda net: {"a": FIXED["a"](net(x.flip(0)), y)})
    with balancer.lookahead(net, optimizer, train=lambda net: {"a": loss(net(x), y)}, held_out=held_out):
        optimizer.zero_grad()
        balancer({"a": loss(net(x), y)}).backward()
        optimizer.step()


def loop(text="learned", **of):
    torch.manual_seed(0)
    loss, net = learned(text, **of), torch.nn.Linear(4, 3)
    return Balancer(["a"], "equal", learned={"a": loss}), loss, net, torch.optim.SGD(net.parameters(), 0.1)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("learned(0.5,0,1,3)", 0, 1), ("learned(0.5,0.1,inf,3)", 0.1, 1e9), ("learned(0.5,-inf,1,3)", -1e9, 1)],
)
def test_a_number_stays_in_its_range_and_follows_the_sign_of_its_slope(text, low, high):
    loss = learned("learned(0.5,0,1)")
    loss.learned["q"] = parse_learned("q", text, 0.0, None)
    numbers = LossNumbers({"a": loss})
    assert float(numbers.values) == pytest.approx(0.5, abs=1e-12)
    for sign in (1.0, 1.0, -1.0, -1.0, -1.0):
        before = float(numbers.values)
        numbers.gradient = torch.tensor([sign], dtype=torch.float64)
        numbers.learn(None)
        now = float(numbers.values)
        assert low < now < high
        if sign > 0:
            assert now < before


class Scaled(Loss):
    """Cross-entropy times a number."""

    def __init__(self, scale: float = 2.0):
        super().__init__()
        self.scale = scale

    def forward(self, prediction, target):
        return self.scale * torch.nn.functional.cross_entropy(prediction, target, reduction="none")


@pytest.mark.parametrize("weighting", ["equal", "auto_lambda"])
def test_a_number_that_only_makes_steps_longer_or_shorter_has_no_slope(weighting):
    torch.manual_seed(0)
    loss, net = learned("learned(2,0.1,9)", f"{__name__}:Scaled", "scale"), torch.nn.Linear(4, 3).double()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    balancer = Balancer(["a"], weighting, learned={"a": loss})
    seen, learn = [], balancer.player.numbers.learn
    balancer.player.numbers.learn = lambda stepped: (seen.append(balancer.player.numbers.gradient), learn(stepped))
    torch.set_default_dtype(torch.float64)
    try:
        one_step(balancer, loss, net, optimizer)
    finally:
        torch.set_default_dtype(torch.float32)
    assert float(seen[0].abs()) < 1e-15


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("weighting", ["equal", "auto_lambda"])
def test_rounding_moves_no_number_that_has_no_slope(weighting, kind):
    torch.manual_seed(0)
    loss = learned("learned(2,0.1,9)", f"{__name__}:Scaled", "scale")
    net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    optimizer = kind(net.parameters(), 0.01)
    balancer = Balancer(["a"], weighting, learned={"a": loss})
    for _ in range(20):
        one_step(balancer, loss, net, optimizer)
    assert float(loss.scale) == 2.0


def test_a_start_on_a_bound_is_a_little_inside():
    assert learned("learned(0,0,1)").q == 0.01
    assert learned("learned", "cross_entropy", "label_smoothing").label_smoothing == pytest.approx(0.003)


def test_state_is_loaded_exactly_and_the_losses_follow():
    balancer, loss, net, optimizer = loop()
    for _ in range(3):
        one_step(balancer, loss, net, optimizer)
    other, other_loss, other_net, other_optimizer = loop()
    other.load_state_dict(copy.deepcopy(balancer.state_dict()))
    assert torch.equal(loss.q, other_loss.q)
    assert float(loss.q) != 0.7
    other_net.load_state_dict(net.state_dict())
    for parts in ((balancer, loss, net, optimizer), (other, other_loss, other_net, other_optimizer)):
        torch.manual_seed(5)
        one_step(*parts)
    assert torch.equal(loss.q, other_loss.q)
    again = Balancer(["a"], "equal", learned={"a": learned("learned", "focal", "gamma")})
    with pytest.raises(ConfigError, match=r"learned numbers .* a\.q and these are a\.gamma"):
        again.load_state_dict(balancer.state_dict())


def test_a_held_out_objective_keeps_the_numbers_that_training_began_with():
    balancer, loss, net, optimizer = loop("learned(0.5,0,1)")
    seen = []
    for _ in range(2):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        one_step(
            balancer,
            loss,
            net,
            optimizer,
            lambda net, x=x, y=y: (seen.append(float(loss.q)), {"a": loss(net(x), y)})[1],
        )
    assert seen == [0.5, 0.5]
    assert float(loss.q) != 0.5


def test_a_step_that_is_not_finite_moves_nothing():
    balancer, loss, _, _ = loop()
    numbers = balancer.player.numbers
    before = copy.deepcopy(numbers.state_dict())
    for gradient, stepped in ((torch.nan, None), (1.0, torch.tensor(False))):
        numbers.gradient = torch.tensor([gradient], dtype=torch.float64)
        numbers.learn(stepped)
    assert all(torch.equal(one, before[name]) for name, one in numbers.state_dict().items())
    assert float(loss.q) == 0.7


def test_a_step_outside_of_a_look_ahead_names_the_number():
    balancer, loss, net, _ = loop()
    with pytest.raises(SignalError, match="Learned number a.q needs the losses again"):
        balancer({"a": loss(net(torch.randn(4, 4)), torch.zeros(4, dtype=torch.int64))})
    with (
        pytest.raises(ConfigError, match="Learned number a.q needs the optimizer and held-out losses"),
        balancer.lookahead(net, train=lambda net: {}),
    ):
        pass

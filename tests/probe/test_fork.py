"""A fork: copies of the features, one backward that brings all gradients together, and every way to get it wrong."""

import gc
import weakref

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import nn
from torch.utils.checkpoint import checkpoint

from autoloss import Balancer
from autoloss.core.errors import SignalError, UnknownNameError
from autoloss.probe.fork import Fork


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.ModuleDict({"trunk": nn.Linear(5, 4), "a": nn.Linear(4, 3), "b": nn.Linear(4, 3)}), torch.randn(6, 5)


def forked(net, names="ab"):
    modules, data = net
    balancer = Balancer(list(names), "equal")
    features = modules["trunk"](data)
    return balancer, features, balancer.fork(features)


def head(net, name, features):
    return net[0][name](features).square().mean()


def test_copies_are_the_features_themselves(net):
    _, features, fork = forked(net)
    assert list(fork) == ["a", "b"]
    assert len(fork) == 2
    assert "a" in fork
    assert "c" not in fork
    for copy in fork.values():
        assert torch.equal(copy, features)
        assert copy.data_ptr() == features.data_ptr()
    with pytest.raises(UnknownNameError, match="No loss is called 'c'"):
        fork["c"]


def test_gradients_meet_once_with_the_totals_own(net):
    _, features, fork = forked(net)
    met = []
    fork.meets(lambda gradients, scale: met.append((gradients, scale)) or 2 * gradients[0])
    (5 * (head(net, "a", fork["a"]) + fork.token)).backward()
    (((at_a, at_b), scale),) = met
    assert at_b is None
    assert float(scale) == 5.0
    leaf = features.detach().requires_grad_()
    (expected,) = torch.autograd.grad(5 * head(net, "a", leaf), leaf)
    torch.testing.assert_close(at_a, expected)
    torch.testing.assert_close(net[0]["trunk"].bias.grad, 2 * expected.sum(0))


def test_the_token_is_float32_whatever_the_features_are():
    """1 / 3 of an accumulation would be 0.334 in bfloat16."""
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        fork = Fork(torch.ones(2, dtype=dtype, requires_grad=True), ["a"])
        assert fork.token.dtype == torch.float32
        assert fork["a"].dtype == dtype


def test_without_a_graph_a_fork_is_the_features(net):
    modules, data = net
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            fork = Fork(modules["trunk"](data), ["a", "b"])
        assert not fork["a"].requires_grad
        assert not fork.token.requires_grad


def test_nothing_is_left_for_the_garbage_collector(net):
    modules, data = net
    balancer = Balancer(["a", "b"], "gradnorm")
    gc.disable()
    try:
        for backward in (True, False):
            features = modules["trunk"](data)
            gone = weakref.ref(features)
            fork = balancer.fork(features)
            total = balancer({n: head(net, n, fork[n]) for n in "ab"}, anchor=fork)
            if backward:
                total.backward()
            del features, fork, total
            assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("leaf", [False, True])
def test_what_a_loss_was_computed_from_is_found_out(net, leaf):
    _, features, _ = forked(net)
    features = features.detach().requires_grad_() if leaf else features
    fork = Fork(features, ["a", "b"])
    aside = net[0]["trunk"].weight.square().sum()
    assert fork.carries("a", head(net, "a", fork["a"]))
    assert fork.carries("a", head(net, "a", fork["a"]) + aside)
    assert fork.carries("a", head(net, "a", fork["b"]), others=["a", "b"])
    assert fork.carries("a", fork["a"].sum())
    assert not fork.carries("a", aside)
    assert not fork.carries("a", torch.ones(()))
    assert not fork.carries("a", head(net, "a", features), past=True)
    for strange, found in [
        (head(net, "a", fork["b"]), "the copy of 'b'"),
        (head(net, "a", features), "the features themselves"),
        (head(net, "a", fork["a"]) + features.sum(), "the features themselves"),
        (head(net, "a", fork["a"]) + head(net, "b", fork["b"]), "the copy of 'b'"),
        (head(net, "a", fork["b"] + features), "the copy of 'b' and the features themselves"),
    ]:
        with pytest.raises(SignalError, match=f"own copy, but 'a' is computed from {found}.* Write fork\\['a'\\]"):
            fork.carries("a", strange)


def test_heads_that_share_a_node_of_the_graph_are_told_apart(net):
    """The walk cannot see who goes where, the gradients can."""
    _, features, fork = forked(net)
    weights = torch.randn(2, 4, 3)
    both = torch.bmm(torch.stack([fork["a"], fork["b"]]), weights).square().mean((1, 2))
    assert all(fork.carries(name, loss) for name, loss in zip("ab", both.unbind(), strict=True))
    with pytest.raises(SignalError, match="'b' is computed from the copy of 'a'"):
        fork.carries("b", both.unbind()[0])
    with pytest.raises(SignalError, match="'b' is computed from the features themselves"):
        fork.carries("b", torch.bmm(torch.stack([fork["a"], features]), weights)[1].sum())
    kept = checkpoint(lambda a, b: (a.square().sum(), b.square().sum()), fork["a"], fork["b"], use_reentrant=False)
    assert fork.carries("b", kept[1])


def test_asking_leaves_gradients_alone(net):
    balancer, _, fork = forked(net)
    both = torch.stack([fork["a"], fork["b"]]).square().mean((1, 2)).unbind()
    total = balancer(dict(zip("ab", both, strict=True)), anchor=fork)
    assert net[0]["trunk"].weight.grad is None
    total.backward()
    assert net[0]["trunk"].weight.grad is not None


@pytest.mark.parametrize("mistake", ["forgotten", "swapped", "cascaded", "partly forgotten"])
def test_a_wrong_copy_is_found_at_the_first_step(net, mistake):
    balancer, features, fork = forked(net)
    b = {
        "forgotten": lambda: head(net, "b", features),
        "swapped": lambda: head(net, "b", fork["a"]),
        "cascaded": lambda: head(net, "b", fork["b"] + 0.1 * fork["a"].relu()),
        "partly forgotten": lambda: head(net, "b", fork["b"]) + features.square().mean(),
    }[mistake]()
    found = "the features themselves" if "forgotten" in mistake else "the copy of 'a'"
    with pytest.raises(SignalError, match=f"Each loss must be computed from its own copy, but 'b' .*{found}"):
        balancer({"a": head(net, "a", fork["a"]), "b": b}, anchor=fork)


def test_a_loss_that_comes_later_is_looked_at_when_it_comes(net):
    balancer, _, fork = forked(net)
    balancer({"a": head(net, "a", fork["a"])}, anchor=fork).backward()
    _, features, _ = forked(net)
    fork = balancer.fork(features)
    with pytest.raises(SignalError, match="'b' is computed from the copy of 'a'"):
        balancer({"a": head(net, "a", fork["a"]), "b": head(net, "b", fork["a"])}, anchor=fork)


def test_a_backward_without_a_balancer_is_an_error(net):
    _, _, fork = forked(net)
    with pytest.raises(SignalError, match="no balancer was given this fork. Write total = balancer"):
        (head(net, "a", fork["a"]) + head(net, "b", fork["b"])).backward()


def test_backwards_of_single_losses_are_an_error(net):
    balancer, _, fork = forked(net)
    losses = {name: head(net, name, fork[name]) for name in "ab"}
    balancer(losses, anchor=fork)
    with pytest.raises(SignalError, match="a loss was differentiated on its own. Call total.backward"):
        losses["a"].backward()


def test_a_second_backward_is_an_error(net):
    balancer, _, fork = forked(net)
    total = balancer({name: head(net, name, fork[name]) for name in "ab"}, anchor=fork)
    total.backward(retain_graph=True)
    with pytest.raises(SignalError, match="there was one before. Make a fork for each batch"):
        total.backward()


def test_a_second_balancer_call_is_an_error(net):
    balancer, _, fork = forked(net)
    losses = {name: head(net, name, fork[name]) for name in "ab"}
    balancer(losses, anchor=fork)
    with pytest.raises(SignalError, match="one balancer call, but it was given to two"):
        balancer(losses, anchor=fork)


def test_features_without_a_graph_are_an_error(net):
    balancer, features, _ = forked(net)
    fork = balancer.fork(features.detach())
    with pytest.raises(SignalError, match=r"must carry gradients, but those of shape \[6, 4\] do not"):
        balancer({name: head(net, name, fork[name]) for name in "ab"}, anchor=fork)


def test_another_balancers_fork_is_an_error(net):
    _, _, fork = forked(net)
    with pytest.raises(SignalError, match=r"a copy for each loss \(a, b, c\), but it has a, b"):
        Balancer("abc", "equal")({name: head(net, name, fork[name]) for name in "ab"}, anchor=fork)


def test_no_loss_through_the_fork_is_an_error(net):
    balancer, _, fork = forked(net)
    with pytest.raises(SignalError, match="At least one loss must be computed from its copy"):
        balancer({"a": net[0]["a"].weight.square().sum()}, anchor=fork)


def test_second_derivatives_are_an_error_and_not_wrong(net):
    balancer, _, fork = forked(net)
    total = balancer({name: head(net, name, fork[name]) for name in "ab"}, anchor=fork)
    (gradient,) = torch.autograd.grad(total, net[0]["trunk"].weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_a_copy_is_not_written_to_in_place(net):
    """All copies share their memory."""
    _, _, fork = forked(net)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        fork["a"].relu_()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_forward_derivatives_go_through(net):
    modules, data = net
    tangent = torch.randn_like(modules["trunk"].weight)

    def losses(weight, fork):
        features = torch.nn.functional.linear(data, weight)
        of = Fork(features, ["a", "b"]) if fork else {"a": features, "b": features}
        return torch.stack([head(net, name, of[name]) for name in "ab"])

    weight = modules["trunk"].weight.detach()
    plain, through = (torch.func.jvp(lambda w, f=f: losses(w, f), (weight,), (tangent,)) for f in (False, True))
    torch.testing.assert_close(through, plain)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(modules["trunk"].weight, tangent)
        torch.testing.assert_close(forward_ad.unpack_dual(losses(dual, True)).tangent, plain[1])


@pytest.mark.slow
# Dynamo's own, about what it does inside.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
@pytest.mark.parametrize("region", ["heads", "all"])
def test_compiled_regions_around_and_across_a_fork(net, region):
    modules, data = net
    balancers = [Balancer(["a", "b"], "mgda") for _ in range(2)]

    def heads(a, b):
        return {"a": modules["a"](a).square().mean(), "b": modules["b"](b).square().mean()}

    def run(balancer, of_heads):
        fork = balancer.fork(modules["trunk"](data))
        return balancer(of_heads(fork["a"], fork["b"]), anchor=fork)

    gradients = []
    for balancer, compiled in zip(balancers, (False, True), strict=True):
        modules.zero_grad()
        of_heads = torch.compile(heads, backend="aot_eager") if compiled and region == "heads" else heads
        whole = torch.compile(run, backend="aot_eager") if compiled and region == "all" else run
        whole(balancer, of_heads).backward()
        gradients.append([p.grad.clone() for p in modules.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])
    assert balancers[1].weights == pytest.approx(balancers[0].weights)

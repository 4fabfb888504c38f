"""Derivatives in a direction of what a loss is made of: attention, dropout, layers, functions without one."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.probe.slopes import Slopes
from tests.training.step.unrolled import aligned


class Cube(torch.autograd.Function):
    """Has no ``jvp``."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


def test_without_a_forward_derivative_differences_stand_in_and_say_so_once(recwarn):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).double()
    x, slopes = torch.randn(8, 4).double(), Slopes(net)
    at = {p: p.detach().clone() for p in net.parameters()}
    direction = {p: torch.randn_like(p) for p in at}
    found = []
    for cube, engine in ((Cube.apply, slopes), (lambda x: x**3, Slopes(net)), (Cube.apply, slopes)):
        torch.manual_seed(1)
        found.append(engine.along(lambda cube=cube: [cube(net(x)).sum(), None], at, direction))
    said = [str(w.message)[:50] for w in recwarn if w.category is not DeprecationWarning]  # torch's own, once
    assert said == ["A loss has no forward derivative, so hypergradient"]
    assert not slopes.exact
    (one, two, three) = (slope for _, (slope, _) in found)
    assert float(one) == pytest.approx(float(two), rel=1e-6)
    assert float(one) == float(three)
    assert float(found[0][0][0]) == pytest.approx(float(found[1][0][0]), rel=1e-6)


def test_attention_takes_the_kernel_that_has_a_forward_derivative():
    torch.manual_seed(0)
    net = nn.MultiheadAttention(8, 2, batch_first=True)
    x, slopes = torch.randn(2, 5, 8), Slopes(net)
    at = {p: p.detach().clone() for p in net.parameters()}
    direction = {p: torch.randn_like(p) for p in at}
    loss = net(x, x, x, need_weights=False)[0].square().mean()
    gradients = torch.autograd.grad(loss, list(at))
    _, (slope,) = slopes.along(lambda: [net(x, x, x, need_weights=False)[0].square().mean()], at, direction)
    assert slopes.exact
    assert float(slope) == pytest.approx(
        float(sum((g * direction[p]).sum() for g, p in zip(gradients, at, strict=True))), rel=1e-4
    )


class OfKernels(nn.Module):
    """Drops out other values where only the math kernel of attention may be used, as attention on CUDA does."""

    def __init__(self, alike):
        super().__init__()
        self.weight, self.alike = nn.Parameter(torch.ones(4).double()), alike

    def forward(self, x):
        if not self.alike and not torch.backends.cuda.flash_sdp_enabled():
            torch.rand(3)
        return nn.functional.dropout((x * self.weight).tanh(), 0.5)


def test_dropout_that_only_other_kernels_have_is_taken_by_differences():
    told = {}
    for alike in (True, False):
        torch.manual_seed(0)
        net, x, held = OfKernels(alike), torch.randn(16, 4).double(), torch.randn(16, 4).double()
        of = lambda net, x=x: {"a": net(x).square().mean(), "b": (net(x) - 1).square().mean()}  # noqa: E731
        balancer, optimizer = Balancer(("a", "b"), "auto_lambda"), torch.optim.SGD(net.parameters(), 0.1)
        told[alike] = aligned(balancer)
        for step in range(2):
            says = pytest.warns(UserWarning, match="Attention's kernel with a forward derivative drops out other")
            ahead = balancer.lookahead(net, optimizer, train=of, held_out=lambda net, of=of, held=held: of(net, held))
            with nullcontext() if alike or step else says, ahead:
                optimizer.zero_grad()
                balancer(of(net)).backward()
                optimizer.step()
    torch.testing.assert_close(told[False], told[True], rtol=1e-6, atol=1e-12)


# The first step that is taken says that its dropout is not that of forward mode.
@pytest.mark.filterwarnings("ignore:Attention's kernel with a forward derivative")
def test_a_step_that_a_fused_kernel_skips_teaches_nothing():
    torch.manual_seed(0)
    net, x, held = OfKernels(alike=False).float(), torch.randn(16, 4), torch.randn(16, 4)
    of = lambda net, x=x: {"a": 64 * net(x).square().mean(), "b": (net(x) - 1).square().mean()}  # noqa: E731
    balancer, optimizer = Balancer(("a", "b"), "auto_lambda"), torch.optim.AdamW(net.parameters(), fused=True)
    # The scaler says nothing to a fused optimiser but a tensor: its step is called, and leaves the parameters alone.
    scaler, taught = torch.amp.GradScaler("cpu", init_scale=2.0**127), []
    for _ in range(12):
        before = net.weight.detach().clone()
        optimizer.zero_grad()
        with balancer.lookahead(net, optimizer, train=of, held_out=lambda net: of(net, held)):
            scaler.scale(balancer(of(net))).backward()
            scaler.step(optimizer)
            scaler.update()
        taught.append((not torch.equal(before, net.weight), bool(balancer.player.weighting.value.any())))
    assert taught[0] == (False, False)
    assert taught[-1] == (True, True)


LAYERS = {
    "linear": (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), (5, 4)),
    "no bias": (nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), nn.Linear(3, 2)), (5, 4)),
    "conv1d": (nn.Sequential(nn.Conv1d(2, 4, 3, padding=1, groups=2), nn.Tanh(), nn.Conv1d(4, 2, 3)), (3, 2, 8)),
    "conv2d": (nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, bias=False), nn.Tanh(), nn.Conv2d(4, 2, 2)), (3, 2, 8, 8)),
    "padding mode": (nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.Tanh()), (3, 2, 8, 8)),
    "convolved twice": (nn.Sequential(nn.ConvTranspose1d(2, 4, 3), nn.Tanh(), nn.Conv1d(4, 2, 3)), (3, 2, 8)),
}


@pytest.mark.parametrize("which", LAYERS)
@pytest.mark.parametrize("sloped", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_layers_of_data_and_of_what_has_a_graph(which, sloped, frozen):
    """With ``sloped``, a loss as those of physics: of a derivative in the data."""
    torch.manual_seed(0)
    net, shape = LAYERS[which]
    net = copy.deepcopy(net).double()
    net[0].weight.requires_grad_(not frozen)
    x = torch.randn(shape).double()

    def loss():
        if not sloped:
            return net(x).square().mean()
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(at).square().sum(), at, create_graph=True)
        return slope.square().mean()

    at = {p: p.detach().clone() for p in net.parameters() if p.requires_grad}
    direction = {p: torch.randn_like(p) for p in at}
    gradients = torch.autograd.grad(loss(), list(at), materialize_grads=True)
    _, (found,) = Slopes(net).along(lambda: [loss()], at, direction)
    expected = sum((g * direction[p]).sum() for g, p in zip(gradients, at, strict=True)) if at else torch.zeros(())
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-10)

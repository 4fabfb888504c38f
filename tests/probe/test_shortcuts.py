"""Shortcuts of forward mode, against torch's own forward mode, in float64."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from autoloss.probe.shortcuts import Shortcuts
from autoloss.probe.slopes import Slopes


def sloped(losses, values, derivatives, mode):
    """The outcome of ``losses`` and its derivative; ``values`` without a derivative are constants."""
    with forward_ad.dual_level():
        duals = [v if d is None else forward_ad.make_dual(v, d) for v, d in zip(values, derivatives, strict=True)]
        if mode is None:
            found = losses(*duals)
        else:
            with mode:
                found = losses(*duals)
        primal, slope = forward_ad.unpack_dual(found)
        return primal.clone(), torch.zeros_like(primal) if slope is None else slope.clone()


def agree(losses, values, derivatives, **close):
    own, ours = (sloped(losses, values, derivatives, mode) for mode in (None, Shortcuts()))
    for one, other in zip(ours, own, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, **(close or {"rtol": 1e-12, "atol": 1e-12}))


CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
CALLS = {  # axes of space, groups, the call, whether the bias is given
    "conv1d": (1, 1, lambda f, x, w, b: f(x, w, b), True),
    "conv2d": (2, 1, lambda f, x, w, b: f(x, w, b, 2, 1), True),
    "conv3d": (3, 1, lambda f, x, w, b: f(x, w, b, padding="same"), True),
    "no bias": (2, 1, lambda f, x, w, b: f(x, w, None, (2, 1)), False),
    "bias left out": (2, 1, lambda f, x, w, b: f(x, w), False),
    "keywords": (2, 1, lambda f, x, w, b: f(x, w, bias=b, stride=2, padding=2, dilation=2), True),
    "dilated": (1, 1, lambda f, x, w, b: f(x, w, b, 1, 2, 2, 1), True),
    "groups": (2, 2, lambda f, x, w, b: f(x, w, b, 1, 0, 1, 2), True),
    "groups by keyword": (1, 2, lambda f, x, w, b: f(x, w, b, groups=2), True),
    "all by keyword": (2, 1, lambda f, x, w, b: f(input=x, weight=w, bias=b), True),
}


@pytest.mark.parametrize("which", CALLS)
@pytest.mark.parametrize("moving", ["xwb", "x", "wb", "xw", "xb", "w", "b", ""])
@pytest.mark.parametrize("single", [False, True])
def test_convolutions(which, moving, single):
    torch.manual_seed(0)
    axes, groups, call, bias = CALLS[which]
    values = [torch.randn(*(() if single else (3,)), 4, *(7,) * axes), torch.randn(6, 4 // groups, *(3,) * axes)]
    values = [one.double() for one in (*values, torch.randn(6))]
    derivatives = [torch.randn_like(one) if name in moving else None for name, one in zip("xwb", values, strict=True)]
    if not bias:
        derivatives[2] = None
    agree(lambda x, w, b: call(CONVOLUTIONS[axes], x, w, b), values, derivatives)


@pytest.mark.parametrize("moving", ["xwb", "x", "wb", "xw", "xb", "w", "b", ""])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_linear_layers(moving, bias, shape):
    torch.manual_seed(0)
    values = [torch.randn(size).double() for size in (shape, (5, 4), (5,))]
    derivatives = [torch.randn_like(one) if name in moving else None for name, one in zip("xwb", values, strict=True)]
    agree(lambda x, w, b: functional.linear(x, w, b if bias else None), values, derivatives)


C = torch.tensor([2.0, -3.0, 0.5], dtype=torch.float64)
WITH_CONSTANTS = {
    "number": lambda x: 2 * x + 1 - x / 4 - (3 - x) * 0.5,
    "whole number": lambda x: x * 2 - 1,
    "tensor": lambda x: (x * C - C) / C + (C - x) + (C + x) * 2,
    "broadcast": lambda x: (x[:, None] + C[None, :, None]) * torch.ones(2, 1, 1, 1) - torch.ones(2, 1, 3, 1),
    "other kind": lambda x: x.float() * C + C - x.float() / C + (x.float() - torch.arange(3)) * (x > 0),
    "functions": lambda x: torch.mul(x, C) + torch.div(x, C) - torch.true_divide(x, 3) + torch.add(C, torch.sub(x, 1)),
    "keywords": lambda x: torch.add(x, C, alpha=2) - x.sub(C, alpha=3) + torch.div(x, C, rounding_mode=None),
    "below": lambda x: C / x + 1 / x,
    "both": lambda x: x * x + x / (x * 2) - (x - x.square()),
    "in place": lambda x: (x + 1).relu_().mul_(2).add_(C) + x,
    "of nothing": lambda x: (C * 2 - C / 3).sum() * x.detach(),
}


@pytest.mark.parametrize("which", WITH_CONSTANTS)
def test_arithmetic_with_constants(which):
    torch.manual_seed(0)
    x = torch.randn(5, 3).double()
    agree(WITH_CONSTANTS[which], [x], [torch.randn_like(x)])


def test_an_operation_in_place_leaves_the_derivative_of_what_it_came_from():
    x, along = torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 1.0])
    for shift in (lambda x: x + 0.0, lambda x: 0.0 + x, lambda x: x - torch.zeros(2)):
        slope = sloped(lambda x, shift=shift: (shift(x).mul_(5), x)[1] * 1.0, [x], [along], Shortcuts())[1]
        assert slope.tolist() == [1.0, 1.0]


def test_constants_with_a_graph_keep_it():
    x, along, scale = torch.randn(3), torch.randn(3), torch.tensor(2.0, requires_grad=True)
    with forward_ad.dual_level(), Shortcuts():
        found = forward_ad.unpack_dual((forward_ad.make_dual(x, along) * scale + scale).sum()).tangent
    assert found is not None
    assert torch.autograd.grad(found, scale)[0].item() == pytest.approx(float(along.sum()))


def test_layers_under_autocast():
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 4, 8, 8), torch.randn(6, 4, 3, 3), torch.randn(6)
    along = [torch.randn_like(one) for one in (x, w, b)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for derivatives in (along, [None, *along[1:]], [along[0], None, None]):
            agree(
                lambda x, w, b: functional.conv2d(x, w, b, padding=1).relu() * 2,
                [x, w, b],
                derivatives,
                rtol=0.05,
                atol=0.2,
            )
            agree(
                lambda x, w, b: functional.linear(x.mean(3), w[..., 0, :2].flatten(1), b),
                [x, w, b],
                derivatives,
                rtol=0.05,
                atol=0.2,
            )


class Count(TorchDispatchMode):
    """How often each operation is done."""

    def __init__(self):
        super().__init__()
        self.of = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.of[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_ahead_of_a_network_takes_two_convolutions_for_each():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3)).double()
    x, at = torch.randn(2, 3, 9, 9).double(), {p: p.detach().clone() for p in net.parameters()}
    direction = {p: torch.randn_like(p) for p in at}
    gradients = torch.autograd.grad((net(x) * 2 - 1).square().mean() / 3, list(at))
    with Count() as count:
        _, (slope,) = Slopes(net).along(lambda: [(net(x) * 2 - 1).square().mean() / 3], at, direction)
    assert count.of["convolution"] == 6
    expected = sum((g * direction[p]).sum() for g, p in zip(gradients, at, strict=True))
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=0)
    assert all(isinstance(parameter, nn.Parameter) for parameter in net.parameters())


def test_parameters_are_back_whatever_happens():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    before = dict(net.named_parameters(remove_duplicate=False))
    at = {p: p.detach().clone() for p in net.parameters()}

    def fails():
        assert net[1].weight is net[0].weight
        assert not isinstance(net[0].bias, nn.Parameter)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        Slopes(net).along(fails, at, at)
    assert all(net.get_parameter(name) is parameter for name, parameter in before.items())


def test_groups_are_normalised_with_channels_in_the_last_place() -> None:
    norm = nn.GroupNorm(2, 4).double()
    x, along = torch.randn(2, 2, 4, 3, 3, dtype=torch.float64)
    last = x.contiguous(memory_format=torch.channels_last)
    found = sloped(norm, [last], [along], Shortcuts())[1]
    step = 1e-6
    expected = (norm(x + step * along) - norm(x - step * along)) / (2 * step)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-7)

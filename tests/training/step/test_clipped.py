"""Hypergradients of steps whose gradients are clipped, or scaled as float16 needs it, against the unrolled step."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from autoloss import Balancer
from autoloss.core.registry.lookup import registry
from autoloss.probe.clipping import clipping_factors
from autoloss.probe.optimizer_step import OptimizerStep
from autoloss.training.lightning.loaders import HeldOut, loader
from autoloss.training.lightning.multitask import MultiTaskModule
from tests.trainers import quiet_trainer
from tests.training.step.unrolled import NAMES, OPTIMIZERS, adam, aligned, entries, scalars, setting, sgd

CLIPS = {
    "norm": lambda net: clip_grad_norm_(net.parameters(), 0.01),
    "value": lambda net: clip_grad_value_(net.parameters(), 0.02),
    "norm of each parameter": lambda net: [clip_grad_norm_([p], 0.01) for p in net.parameters()],
    "norm of the heads": lambda net: clip_grad_norm_(net.heads.parameters(), 0.01),
    "value, then norm": lambda net: (clip_grad_value_(net.parameters(), 0.02), clip_grad_norm_(net.parameters(), 0.01)),
    "norm that is large": lambda net: clip_grad_norm_(net.parameters(), 1e6),
}


def expected_alignment(net, optimizer, parts, held, weights, factors):
    """d held_out(p') / d weights of the unrolled step, with each gradient times its constant factor."""
    parameters = list(net.parameters())
    weights = weights.clone().requires_grad_()
    totals = [(torch.stack(scalars(entries(net, x))) * weights).sum() for x in parts]
    gradients = torch.autograd.grad(torch.stack(totals).mean(), parameters, create_graph=True, allow_unused=True)
    clipped = [None if g is None else g * f for g, f in zip(gradients, factors, strict=True)]
    unroll = sgd if isinstance(optimizer, torch.optim.SGD) else adam
    moved = unroll(optimizer, [p.detach() for p in parameters], clipped)
    named = dict(zip([name for name, _ in net.named_parameters()], moved, strict=True))
    found = torch.func.functional_call(_Mean(net), {f"net.{name}": p for name, p in named.items()}, (held,))
    return torch.autograd.grad(found, weights)[0]


class _Mean(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, held):
        return torch.stack(scalars(entries(self.net, held))).sum()


def factor(before, after):
    ratio = after / before
    return ratio.where(before != 0, ratio.nan_to_num(nan=-1.0).max()).abs()


def steps_of(which, clip, micro_batches=1, scaler=None, steps=3, device="cpu"):
    """What the player is told of each step, what the unrolled step gives, and the smallest factor."""
    net, optimizer = setting(which, device=device)
    balancer = Balancer(NAMES, {"name": "auto_lambda", "lr": 0.1}, accumulate=micro_batches)
    told, wanted, smallest = aligned(balancer), [], math.inf
    for _ in range(steps):
        parts = [torch.randn(16, 4).double().to(device) for _ in range(micro_batches)]
        held = torch.randn(12, 4).double().to(device)
        before, state = copy.deepcopy((net, optimizer))
        optimizer.zero_grad()
        for x in parts:
            with balancer.lookahead(
                net,
                optimizer,
                train=lambda net, x=x: entries(net, x),
                held_out=lambda n, h=held: entries(n, h),
                objective="sum",
            ):
                total = balancer(entries(net, x)) / micro_batches
                weights = balancer.player.last.double()
                (total if scaler is None else scaler.scale(total)).backward()
                if x is parts[-1]:
                    if scaler is not None:
                        scaler.unscale_(optimizer)
                    raw = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
                    clip(net)
                    factors = [
                        1.0 if g is None else factor(g, p.grad) for p, g in zip(net.parameters(), raw, strict=True)
                    ]
                    optimizer.step() if scaler is None else scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
        smallest = min(smallest, *(float(f.min()) for f in factors if isinstance(f, torch.Tensor)))
        wanted.append(-expected_alignment(before, state, parts, held, weights, factors))
    return told, wanted, smallest


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("which", OPTIMIZERS)
def test_hypergradients_have_the_factor_of_clipping(which, clip, device):
    told, wanted, smallest = steps_of(which, CLIPS[clip], device=device)
    assert (smallest < 0.5) == (clip != "norm that is large")
    for one, other in zip(told, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_a_gradient_scaler_and_accumulation_leave_the_hypergradients_as_they_are(clip, micro_batches):
    # A factor that is no power of two would change the rounding of all that is compared.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    told, wanted, _ = steps_of("adam", CLIPS[clip], micro_batches, scaler)
    for one, other in zip(told, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_what_is_added_to_the_gradients_is_no_clipping():
    def decay(net):
        for parameter in net.parameters():
            parameter.grad.add_(parameter.detach(), alpha=0.1)

    plain, other = [], []
    for change, into in ((lambda net: None, plain), (decay, other)):
        net, optimizer = setting("sgd")
        balancer = Balancer(NAMES, "auto_lambda")
        told = aligned(balancer)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1)).double()
        # Held-out losses that are linear in the parameters have the same gradient wherever the step leads to.
        linear = lambda net: {name: sum(p.sum() for p in net.parameters()) for name in NAMES}  # noqa: E731
        of = lambda net, x=x: entries(net, x)  # noqa: E731
        with balancer.lookahead(net, optimizer, train=of, held_out=linear, objective="sum"):
            optimizer.zero_grad()
            balancer(entries(net, x)).backward()
            change(net)
            optimizer.step()
        into += told
    torch.testing.assert_close(other[0], plain[0], rtol=1e-12, atol=0.0)


def test_the_factor_where_a_gradient_is_0():
    a, b, c = (torch.nn.Parameter(torch.zeros(3)) for _ in range(3))
    before = {a: torch.tensor([4.0, 0.0, -2.0]), b: torch.zeros(3), c: torch.tensor([8.0, 0.5, 0.0])}
    after = {a: torch.tensor([1.0, 0.0, -0.5]), b: torch.zeros(3), c: torch.tensor([2.0, 0.125, 0.0])}
    for factor in clipping_factors(before, after, 1.0).values():
        assert factor.tolist() == [0.25, 0.25, 0.25]
    scaled = {p: g * 1024 for p, g in before.items()}
    for factor in clipping_factors(scaled, after, torch.tensor(1024.0)).values():
        assert factor.tolist() == [0.25, 0.25, 0.25]
    bounded = clipping_factors({c: before[c]}, {c: torch.tensor([1.0, 0.5, 0.0])}, 1.0)
    assert bounded[c].tolist() == [0.125, 1.0, 1.0]
    assert clipping_factors({b: before[b]}, {b: after[b]}, 1.0)[b].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_factor_is_found_in_every_precision(dtype):
    p = torch.nn.Parameter(torch.zeros(1000, dtype=dtype))
    gradient = torch.randn(1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    for clip in (lambda: clip_grad_norm_([p], 1.0), lambda: clip_grad_value_([p], 0.1)):
        p.grad = gradient.clone()
        clip()
        factor = clipping_factors({p: gradient}, {p: p.grad}, 1.0)[p]
        torch.testing.assert_close(factor * gradient.float(), p.grad.float())
        assert float(factor.max()) < 0.1 or float(factor.min()) < 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("batches", [1, 2])
def test_the_trainer_clips_and_the_factor_is_known(algorithm, batches, tmp_path, monkeypatch):
    problem = registry.build("problem", "two_digits")
    losses = {name: registry.build("loss", loss) for name, loss in problem.terms.items()}
    data = problem.datasets(0)["train"]
    found = []
    times = OptimizerStep.jacobian_times

    def jacobian_times(self, gradient, scale=1.0):
        direction = times(self, gradient, scale)
        clipped = {p: p.grad.clone() for p in gradient if p.grad is not None}
        found.append((self.unclipped.gradients, clipped, {p: direction[p] / gradient[p] / 0.1 for p in clipped}))
        return direction

    monkeypatch.setattr(OptimizerStep, "jacobian_times", jacobian_times)
    module = MultiTaskModule(
        problem,
        losses,
        registry.build("weighting", "auto_lambda"),
        lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        held_out=HeldOut(data, 8, 0),
    )
    trainer = quiet_trainer(
        max_steps=2,
        accumulate_grad_batches=batches,
        gradient_clip_val=0.001,
        gradient_clip_algorithm=algorithm,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader(data, 8, 0, shuffle=True))
    assert len(found) == 2
    for before, after, factors in found:
        known = {p: f for p, f in factors.items() if f.isfinite().all()}
        assert known
        for p, factor in known.items():
            torch.testing.assert_close(factor * before[p], after[p], rtol=1e-3, atol=1e-8)

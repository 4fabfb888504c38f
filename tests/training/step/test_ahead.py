"""Hypergradients of real steps, against the unrolled step differentiated twice, in float64."""

import copy
import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call

from autoloss import Balancer
from autoloss.core.errors import ConfigError, SignalError, UnknownNameError
from autoloss.core.table import Entry
from autoloss.probe.descent import gradient_of
from autoloss.probe.lookahead import Moment, replayed
from autoloss.probe.optimizer_step import observe_step
from autoloss.probe.slopes import Slopes

NAMES = ("a", "b", "c")
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "sgd, decay": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "dampening": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "sgd, maximize": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    "adam": (torch.optim.Adam, {"lr": 0.01}),
    "adam, decay": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.7)}),
    "adam, amsgrad": (torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "betas": (0.9, 0.5)}),
    "adam, maximize": (torch.optim.Adam, {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    "adam, large eps": (torch.optim.Adam, {"lr": 0.01, "eps": 0.1}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw, fused": (torch.optim.AdamW, {"lr": 0.01, "fused": True}),
    "adam, tensor lr": (torch.optim.Adam, {"lr": torch.tensor(0.01).double(), "foreach": False}),
}


class Net(nn.Module):
    """BatchNorm, dropout, a tied parameter, and one head for each loss."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(dropout), nn.Tanh(), nn.Linear(6, 6))
        self.heads = nn.ModuleList([nn.Linear(6, 1) for _ in NAMES])
        self.heads[2].weight = self.heads[1].weight

    def forward(self, x):
        z = self.trunk(x)
        return [head(z)[:, 0] for head in self.heads]


def entries(net, x):
    """One value for each sample, a mask, and a constant that no_grad makes."""
    outs = net(x)
    with torch.no_grad():
        scale = 1 + outs[1].square().mean()
    values = (outs[0].square(), (outs[1] - x.sum(1)).square() * scale, (outs[2] - 1).abs())
    found = {name: Entry(value) for name, value in zip(NAMES, values, strict=True)}
    found["b"] = Entry(found["b"].values, x[:, 0] > -0.5)
    return found


def scalars(found):
    return [
        entry.values.mean() if entry.mask is None else entry.values[entry.mask].sum() / entry.mask.sum()
        for entry in found.values()
    ]


def unrolled(net, optimizer, objective, held_out, weights):
    """d held_out(p') / d weights by one step of ``optimizer``, unrolled and differentiated twice."""
    net = copy.deepcopy(net)
    start = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    weights = weights.clone().requires_grad_()
    total = objective(lambda x: functional_call(net, start, (x,)), weights)
    gradients = torch.autograd.grad(total, list(start.values()), create_graph=True, allow_unused=True)
    unroll = sgd if isinstance(optimizer, torch.optim.SGD) else adam
    moved = dict(zip(start, unroll(optimizer, list(start.values()), gradients), strict=True))
    return torch.autograd.grad(held_out(lambda x: functional_call(net, moved, (x,))), weights)[0]


def sgd(optimizer, values, gradients):
    """torch's own, differentiable, cuts the graph where it fills the momentum buffer."""
    moved = []
    pairs = [(group, p) for group in optimizer.param_groups for p in group["params"]]
    for (group, p), value, gradient in zip(pairs, values, gradients, strict=True):
        if gradient is None:
            moved.append(value)
            continue
        step = (-gradient if group["maximize"] else gradient) + group["weight_decay"] * value
        if group["momentum"]:
            buffer = optimizer.state[p].get("momentum_buffer")
            fresh = buffer is None
            buffer = step if fresh else group["momentum"] * buffer + (1 - group["dampening"]) * step
            step = step + group["momentum"] * buffer if group["nesterov"] else buffer
        moved.append(value - group["lr"] * step)
    return moved


def adam(optimizer, values, gradients):
    """torch's own, differentiable."""
    moved = [v if g is None else v.clone() for v, g in zip(values, gradients, strict=True)]
    groups, rest = [], list(moved)
    for group in optimizer.param_groups:
        options = {k: v for k, v in group.items() if k not in ("params", "fused", "foreach", "differentiable", "lr")}
        mine, rest = rest[: len(group["params"])], rest[len(group["params"]) :]
        groups.append({**options, "params": mine, "lr": float(group["lr"])})
    plain = type(optimizer)(groups, differentiable=True, foreach=False)
    state = copy.deepcopy(optimizer.state_dict()["state"])
    plain.load_state_dict({"state": state, "param_groups": plain.state_dict()["param_groups"]})
    for value, gradient in zip(moved, gradients, strict=True):
        value.grad = gradient
        zeros = {key: torch.zeros_like(value) for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")}
        before = plain.state[value] or {"step": torch.zeros((), device=value.device), **zeros}
        # Its count is float32, and a differentiable step does not leave that.
        plain.state[value] = {**before, "step": before["step"].double()}
    plain.step()
    return moved


def setting(which, dropout=0.0, device="cpu"):
    torch.manual_seed(0)
    net = Net(dropout).double().to(device)
    kind, options = OPTIMIZERS[which]
    halves = [list(net.trunk.parameters()), list(net.heads.parameters())]
    groups = [{"params": halves[0]}, {"params": halves[1], "lr": options["lr"] / 2}]
    optimizer = kind(groups, **options)
    # Adam's first step has hardly a derivative (it is a sign): what is left of it is rounding, on both sides.
    for _ in range(3 if options.get("eps", 1e-8) == 1e-8 and kind is not torch.optim.SGD else 0):
        optimizer.zero_grad()
        torch.stack(net(torch.randn(16, 4).double().to(device))).square().mean().backward()
        optimizer.step()
    return net, optimizer


def aligned(balancer):
    """What the player is told, before it becomes float32."""
    told = []
    before = balancer.player.observe

    def observe(step, outcome):
        measure = outcome.look_ahead.alignment
        outcome.look_ahead.alignment = lambda *args: told.append(measure(*args)) or told[-1]
        before(step, outcome)
        outcome.look_ahead.alignment = measure

    balancer.player.observe = observe
    return told


@pytest.mark.parametrize("which", OPTIMIZERS)
def test_k_hypergradients_equal_the_unrolled_step(which, device):
    net, optimizer = setting(which, device=device)
    base = {"b": 0.5}
    balancer = Balancer(NAMES, {"name": "auto_lambda", "lr": 0.1}, base=base)
    told = aligned(balancer)
    factors = torch.tensor([1.0, 0.5, 1.0], dtype=torch.float64, device=device)
    for step in range(4):
        x, held = torch.randn(16, 4).double().to(device), torch.randn(12, 4).double().to(device)
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        with balancer.lookahead(
            net,
            optimizer,
            train=lambda net, x=x: entries(net, x),
            held_out=lambda net, held=held: entries(net, held),
            primary=["a", "b"],
        ):
            optimizer.zero_grad()
            balancer(entries(net, x)).backward()
            weights = balancer.player.last.double()
            optimizer.step()
        expected = unrolled(
            before,
            state,
            lambda net, w, x=x: (torch.stack(scalars(entries(net, x))) * w).sum(),
            lambda net, held=held: (torch.stack(scalars(entries(net, held))) * factors)[:2].sum(),
            weights,
        )
        torch.testing.assert_close(-told[step], expected, rtol=1e-10, atol=1e-14)
    assert balancer.player.weighting.value.abs().max() > 0


@pytest.mark.parametrize("which", ["sgd", "nesterov", "adam", "adamw"])
def test_b_hypergradients_equal_the_unrolled_step(which, device):
    net, optimizer = setting(which, device=device)
    for _ in range(3):
        x, held = torch.randn(16, 4).double().to(device), torch.randn(12, 4).double().to(device)
        weights = torch.rand(16).double().to(device)
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        with observe_step(optimizer) as optimizer_step:
            optimizer.zero_grad()
            (weights * (net(x)[0] - 1).square()).mean().backward()
            optimizer.step()
        moment = Moment.now(x.device)
        with replayed(net, moment, graph=True):
            direction = optimizer_step.jacobian_times(gradient_of(lambda held=held: net(held)[1].square().mean(), net))
            (slopes,) = Slopes(net).along(
                lambda x=x: [(net(x)[0] - 1).square() / 16], optimizer_step.before, direction
            )[1]
        expected = unrolled(
            before,
            state,
            lambda net, w, x=x: (w * (net(x)[0] - 1).square()).mean(),
            lambda net, held=held: net(held)[1].square().mean(),
            weights,
        )
        torch.testing.assert_close(-slopes, expected, rtol=1e-10, atol=1e-14)


def run(weighting, which="adam", accumulate=1, steps=3, dropout=0.5):
    """Parameters, random numbers and buffers after some steps, and what was told."""
    net, optimizer = setting(which, dropout)
    balancer = Balancer(NAMES, weighting, accumulate=accumulate)
    told, draws = aligned(balancer), []
    for _ in range(steps):
        optimizer.zero_grad()
        held = torch.randn(12, 4).double()
        parts = torch.randn(16, 4).double().chunk(accumulate)
        for i, part in enumerate(parts):
            with balancer.lookahead(
                net,
                optimizer,
                train=lambda net, part=part: entries(net, part),
                held_out=lambda net, held=held: entries(net, held),
            ):
                (balancer(entries(net, part)) / accumulate).backward()
                if i == accumulate - 1:
                    optimizer.step()
        draws.append(float(torch.rand(())))
    return net, draws, told, balancer


def test_the_first_step_is_that_of_equal_weights_and_nothing_is_disturbed():
    plain, plain_draws, _, _ = run("equal", steps=1)
    net, draws, told, _ = run("auto_lambda", steps=1)
    assert draws == plain_draws
    assert len(told) == 1
    for (name, one), other in zip(net.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_weighting_every_n_steps_looks_ahead_every_n_steps():
    assert len(run({"name": "auto_lambda", "wrap": {"every_n": {"n": 3}}}, steps=7)[2]) == 3


def test_accumulated_micro_batches_add_up_to_the_step():
    net, optimizer = setting("adam")
    balancer = Balancer(NAMES, "auto_lambda", accumulate=2)
    told = aligned(balancer)
    for step in range(3):
        parts, held = torch.randn(16, 4).double().chunk(2), torch.randn(12, 4).double()
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        optimizer.zero_grad()
        for i, part in enumerate(parts):
            with balancer.lookahead(
                net,
                optimizer,
                train=lambda net, part=part: entries(net, part),
                held_out=lambda net, held=held: entries(net, held),
            ):
                (balancer(entries(net, part)) / 2).backward()
                weights = balancer.player.last.double()
                if i:
                    optimizer.step()
        expected = unrolled(
            before,
            state,
            lambda net, w, parts=parts: sum((torch.stack(scalars(entries(net, part))) * w).sum() / 2 for part in parts),
            lambda net, held=held: torch.stack(scalars(entries(net, held))).sum(),
            weights,
        )
        torch.testing.assert_close(-told[step], expected, rtol=1e-10, atol=1e-14)
    assert balancer.clock.step == 3
    assert balancer.player.weighting.adam.steps.tolist() == [3.0] * 3


def test_an_absent_loss_has_no_part():
    net, optimizer = setting("sgd")
    balancer = Balancer(NAMES, "auto_lambda")
    told = aligned(balancer)
    x = torch.randn(8, 4).double()

    def without(net):
        return {**entries(net, x), "c": None}

    with balancer.lookahead(net, optimizer, train=without, held_out=lambda net: entries(net, x)):
        balancer(without(net)).backward()
        optimizer.step()
    assert told[0][2] == 0
    assert balancer.player.weighting.value[2] == 0
    assert balancer.player.weighting.value[0] != 0


def test_a_step_that_was_not_taken_teaches_nothing():
    net, optimizer = setting("sgd")
    balancer = Balancer(NAMES, "auto_lambda")
    x = torch.randn(8, 4).double()
    with balancer.lookahead(net, optimizer, train=lambda net: entries(net, x), held_out=lambda net: entries(net, x)):
        balancer(entries(net, x)).backward()
    assert balancer.player.weighting.value.tolist() == [0.0] * 3
    assert balancer.clock.step == 1


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
    assert [str(w.message)[:50] for w in recwarn] == ["A loss has no forward derivative, so hypergradient"]
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
    assert float(found) == pytest.approx(float(expected), rel=1e-10)


def step(net, optimizer, train=None, held_out=None, weighting="auto_lambda", wrapped=None, zero=False, primary=()):
    balancer = Balancer(NAMES, weighting)
    x = torch.randn(8, 4).double()
    of = lambda net: entries(net, x)  # noqa: E731
    with balancer.lookahead(wrapped or net, optimizer, train=train or of, held_out=held_out or of, primary=primary):
        balancer(of(net)).backward()
        if optimizer is not None:
            optimizer.step()
            if zero:
                optimizer.zero_grad()


def test_what_cannot_be_looked_ahead_with_is_said_at_once():
    net, optimizer = setting("sgd")
    with pytest.raises(ConfigError, match="'auto_lambda' needs the optimizer and held-out losses, but the look-ahead"):
        step(net, None)
    with pytest.raises(ConfigError, match=r"\(SGD, Adam, AdamW\), but this is RMSprop"):
        step(net, torch.optim.RMSprop(net.parameters()))
    with pytest.raises(ConfigError, match=r"lacks 1 of them, one of shape \[6, 4\]"):
        step(net, torch.optim.SGD([net.trunk[0].weight], 0.1), wrapped=net.heads)
    with pytest.raises(SignalError, match="gradients must still be there"):
        step(net, optimizer, zero=True)
    with pytest.raises(SignalError, match="losses of the step again, but 'a' was"):
        step(net, optimizer, train=lambda net: entries(net, torch.randn(8, 4).double()))
    with pytest.raises(SignalError, match="held-out objective must depend on the network"):
        step(net, optimizer, held_out=lambda net: {"a": torch.ones(())})
    with pytest.raises(ConfigError, match="A held-out batch must have one of the losses b, but it has none"):
        step(net, optimizer, held_out=lambda net: {"a": net(torch.randn(8, 4).double())[0]}, primary=["b"])
    with pytest.raises(UnknownNameError, match="No loss is called 'd'"):
        step(net, optimizer, primary=["d"])
    sharded = copy.deepcopy(net)
    sharded.trunk = type("FSDPSequential", (nn.Sequential,), {})(*net.trunk)
    with pytest.raises(ConfigError, match="called with other parameters, but FSDP shards them"):
        step(sharded, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(4, 3).double())
    with pytest.raises(ConfigError, match="called with other parameters, but it holds a RecursiveScriptModule"):
        step(scripted, optimizer)


def ahead(how, clip=None, scale=1.0):
    """What auto_lambda is told in two steps, of 3 and of 1 micro-batches, and the parameters after them.

    Gradients are those of ``scale`` times the total, unscaled and then clipped.
    """
    net, optimizer = setting("adam")
    optimizers, parts = [optimizer], list(net.parameters())
    if how == "two optimisers":
        optimizers = [torch.optim.Adam(parts[:5], lr=0.01), torch.optim.Adam(parts[5:], lr=0.01)]
    elif how == "accelerate":
        accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
        optimizers = [accelerator.prepare(torch.optim.Adam(parts, lr=0.01))]
    else:
        optimizers = [torch.optim.Adam(parts, lr=0.01)]
    net.zero_grad()  # those of `setting` are not scaled
    balancer = Balancer(NAMES, "auto_lambda")
    balancer.watch(optimizers[-1])
    told = aligned(balancer)
    for number in (3, 1):
        held = torch.randn(12, 4).double()
        for i, x in enumerate(torch.randn(number, 8, 4).double(), 1):
            items = {"a": 8 * number, "b": 8 * number, "c": 8 * number} if how == "items" else None
            with balancer.lookahead(
                net,
                optimizers if len(optimizers) > 1 else optimizers[0],
                train=lambda net, x=x: plain_entries(net, x),
                held_out=lambda net, held=held: plain_entries(net, held),
            ):
                total = balancer(plain_entries(net, x), items=items)
                (scale * total if items else scale * total / number).backward()
                if i == number:
                    for part in parts:
                        if part.grad is not None:
                            part.grad /= scale
                    if clip is not None:
                        assert nn.utils.clip_grad_norm_(parts, clip) > 2 * clip
                    for one in optimizers:
                        one.step()
            if i == number:
                for one in optimizers:
                    one.zero_grad()
    assert balancer.clock.step == 2
    return torch.stack(told), torch.cat([p.detach().flatten() for p in parts])


def plain_entries(net, x):
    return {name: entry.values for name, entry in entries(net, x).items()}


@pytest.mark.parametrize("how", ["two optimisers", "accelerate", "items"])
def test_a_look_ahead_sees_a_watched_step_made_in_any_way(how):
    told, parameters = ahead("plain")
    found, others = ahead(how)
    # A number of items is a float32.
    torch.testing.assert_close(found, told, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(others, parameters, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["plain", "two optimisers", "accelerate", "items"])
def test_the_factor_of_clipping_is_known_in_each_of_them(how):
    unclipped, _ = ahead("plain")
    told, parameters = ahead("plain", clip=1e-2)
    assert not torch.allclose(told, unclipped, rtol=1e-2)
    found, others = ahead(how, clip=1e-2, scale=64.0)
    torch.testing.assert_close(found, told, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(others, parameters, rtol=1e-5, atol=1e-6)


def test_an_optimiser_that_is_not_named_is_spoken_of():
    net = nn.Linear(4, 2)
    optimizers = [torch.optim.SGD([p], lr=0.1) for p in net.parameters()]
    x = torch.randn(8, 4)
    balancer = Balancer("ab", "auto_lambda")
    losses_of = lambda net: dict(zip("ab", net(x).square().unbind(1), strict=True))  # noqa: E731
    around = balancer.lookahead(net, optimizers[0], train=losses_of, held_out=losses_of)
    around.__enter__()
    balancer(losses_of(net)).backward()
    for one in optimizers:
        one.step()
    with pytest.raises(SignalError, match=r"name all: balancer\.lookahead"):
        around.__exit__(None, None, None)


def test_others_wrappers_are_not_looked_through():
    class Slow(torch.optim.SGD):
        """A step of its own around the optimiser inside."""

        def __init__(self, inner):
            super().__init__(inner.param_groups, lr=0.1)
            self.optimizer = inner

    net = nn.Linear(4, 2)
    with pytest.raises(ConfigError, match="but this is Slow"), observe_step(Slow(torch.optim.SGD(net.parameters()))):
        pass

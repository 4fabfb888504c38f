"""The step that is unrolled and differentiated twice, in float64: what hypergradients are compared with."""

import copy

import torch
from torch import nn
from torch.func import functional_call

from autoloss.core.table import Entry

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

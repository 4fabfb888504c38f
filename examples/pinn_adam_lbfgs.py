"""A physics-informed network that trains with Adam and then with L-BFGS, weighted by `autoloss.Balancer`.

-u'' = 4 pi^2 sin(2 pi x) on [0, 1] with u = 0 at both ends; the solution is sin(2 pi x). L-BFGS evaluates its closure
several times a step and compares the values, so the function that it minimises must stand still: it gets the last
weights, on all points at once, within `balancer.frozen()`.

    python examples/pinn_adam_lbfgs.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import autoloss


def losses_of(network: nn.Module, inside: Tensor) -> dict[str, Tensor]:
    """The residual at each point of ``inside`` [N, 1], and the boundary loss at the two ends."""
    x = inside.requires_grad_()
    u = network(x)
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    ends = network(torch.tensor([[0.0], [1.0]]))
    return {"residual": (curve + (2 * math.pi) ** 2 * torch.sin(2 * math.pi * x)).square(), "boundary": ends.square()}


def error(network: nn.Module) -> float:
    """The relative L2 error on 201 even points."""
    x = torch.linspace(0, 1, 201)[:, None]
    with torch.no_grad():
        exact = torch.sin(2 * math.pi * x)
        return float((network(x) - exact).norm() / exact.norm())


def train(adam_steps: int = 1500, lbfgs_steps: int = 200, seed: int = 0) -> dict[str, float]:
    """The error after Adam and after L-BFGS, and the weights that they had."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    parameters = list(network.parameters())
    # The losses have no point in common: their gradients are compared at the parameters, here at every tenth step.
    annealed = {"name": "lr_annealing", "reference": "residual", "wrap": [{"every_n": {"n": 10}}]}
    balancer = autoloss.Balancer(["residual", "boundary"], weighting=annealed, total_steps=adam_steps)

    adam = torch.optim.Adam(parameters, lr=0.002)
    for _ in range(adam_steps):
        adam.zero_grad()
        balancer(losses_of(network, torch.rand(64, 1)), anchor=parameters).backward()
        adam.step()
    after_adam = error(network)

    points = torch.linspace(0, 1, 256)[:, None]
    lbfgs = torch.optim.LBFGS(parameters, max_iter=lbfgs_steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        lbfgs.zero_grad()
        total = balancer(losses_of(network, points), anchor=parameters)
        total.backward()
        return total

    with balancer.frozen():
        lbfgs.step(closure)
    return {"adam": after_adam, "lbfgs": error(network), **balancer.weights}


if __name__ == "__main__":
    found = train()
    print(f"relative L2 error: {found['adam']:.2g} after Adam, {found['lbfgs']:.2g} after L-BFGS")
    print(f"weights: residual {found['residual']:.3g}, boundary {found['boundary']:.3g}")

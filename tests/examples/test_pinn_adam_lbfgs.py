"""A network that trains with Adam and then L-BFGS, weighted by a balancer."""

import importlib.util
from pathlib import Path

import torch

from autoloss import Balancer

EXAMPLE = Path(__file__).parents[2] / "examples/pinn_adam_lbfgs.py"


def example():
    spec = importlib.util.spec_from_file_location("pinn_adam_lbfgs", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lbfgs_refines_what_adam_found():
    found = example().train(adam_steps=300, lbfgs_steps=60)
    assert found["lbfgs"] < 0.2 * found["adam"]
    assert found["lbfgs"] < 0.01
    assert found["boundary"] > 2 * found["residual"]


def test_a_closure_sees_one_function_and_the_balancer_learns_nothing_from_it():
    torch.manual_seed(0)
    module = example()
    network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    parameters = list(network.parameters())
    balancer = Balancer(["residual", "boundary"], "lr_annealing")
    for _ in range(3):
        balancer(module.losses_of(network, torch.rand(8, 1)), anchor=parameters).backward()
    before, weights = (
        {k: v.clone() for k, v in balancer.state_dict().items() if isinstance(v, torch.Tensor)},
        balancer.weights,
    )
    points, calls, expected = torch.linspace(0, 1, 16)[:, None], [], []
    optimizer = torch.optim.LBFGS(parameters, max_iter=10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = module.losses_of(network, points)
        total = balancer(losses, anchor=parameters)
        total.backward()
        calls.append(total.detach())
        expected.append(sum(weights[name] * float(loss.detach().mean()) for name, loss in losses.items()))
        return total

    with balancer.frozen():
        optimizer.step(closure)
    assert len(calls) > 5
    torch.testing.assert_close(torch.stack(calls), torch.tensor(expected))
    assert calls[-1] < calls[0]
    assert all(torch.equal(balancer.state_dict()[k], v) for k, v in before.items())
    assert balancer.weights == weights
    assert balancer.clock.step == 3

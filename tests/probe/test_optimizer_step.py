"""Which optimiser makes the step, where libraries have wrapped it."""

from contextlib import nullcontext

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.probe.optimizer_step import check_optimizer, observe_step, unwrapped


def wrapper(library):
    return type(
        "Wrapped",
        (),
        {"__module__": f"{library}.optimizer", "__init__": lambda self, o: vars(self).update(optimizer=o)},
    )


def test_wrappers_of_known_libraries_are_looked_through_also_several_of_them():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    outer, inner = wrapper("accelerate"), wrapper("lightning")
    assert unwrapped(optimizer) is optimizer
    assert unwrapped(inner(optimizer)) is optimizer
    assert unwrapped(outer(inner(optimizer))) is optimizer
    strange = wrapper("somebody")(optimizer)  # it may change the step
    assert unwrapped(outer(strange)) is strange


OPTIMIZERS = {
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, weight_decay=0.1),
    "rmsprop centered": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.9, alpha=0.8),
    "rmsprop maximize": lambda p: torch.optim.RMSprop(p, lr=0.01, maximize=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.2, initial_accumulator_value=0.1, weight_decay=0.1),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.1),
    "nadam decoupled": lambda p: torch.optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_slope_is_the_finite_difference_of_the_step(name, steps):
    """In the first step, whose state is empty, and in a later one."""
    torch.manual_seed(0)
    start, gradients = torch.randn(5, dtype=torch.float64), torch.randn(steps, 5, dtype=torch.float64)

    def stepped(change: float = 0.0, watch: bool = False):
        parameter = torch.nn.Parameter(start.clone())
        optimizer = OPTIMIZERS[name]([parameter])
        for step, gradient in enumerate(gradients):
            last = step == steps - 1
            with observe_step(optimizer) if last and watch else nullcontext() as seen:
                parameter.grad = gradient + change if last else gradient.clone()
                optimizer.step()
        if watch:
            return -seen.jacobian_times({parameter: torch.ones(5, dtype=torch.float64)})[parameter]
        return parameter.detach()

    difference = (stepped(1e-6) - stepped(-1e-6)) / 2e-6
    torch.testing.assert_close(stepped(watch=True), difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("name", "why"), [("Lion", "steps by signs"), ("Muon", "makes each matrix orthogonal")])
def test_an_optimiser_without_a_derivative_says_why(name, why):
    with pytest.raises(ConfigError, match=rf"but this is {name}, which {why}.*Choose one of SGD, Adam, AdamW, RMSprop"):
        check_optimizer(type(name, (torch.optim.Optimizer,), {}))

"""Operations that are written down compute the same from other inputs."""

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from autoloss.training.fleet.operations import ByValueError, Operations


def written(function, *inputs):
    """What ``function`` gives, and the program that was written down meanwhile."""
    with (operations := Operations(inputs)):
        found = function(*inputs)
    outputs = list(found) if isinstance(found, (list, tuple)) else [found]
    return outputs, *operations.program(outputs)


FUNCTIONS = {
    "mapped": lambda x, y: vmap(lambda a, b: (a.softmax(0) * b).sum())(x, y),
    "several": lambda x, y: [*x.unbind(0), y.max(1).values],
    "gradient": lambda x, y: vmap(grad(lambda a, b: (a.exp() * b).log().sum()))(x, y.abs() + 1),
    "constant": lambda x, y: x * torch.tensor([1.0, 2.0, 3.0]) + torch.arange(3),
    "in place": lambda x, y: x.clone().mul_(y).add_(1),
    "view": lambda x, y: _row_of_zeros(x),
    "cat": lambda x, y: torch.cat([x, torch.stack([y[0], y[1]])]),
    "nothing": lambda x, y: torch.zeros(2),
    "unchanged": lambda x, y: (y, x),
    "times": lambda x, y: x * (y[0, 0].double() + 1),
}


def _row_of_zeros(x):
    x = x.clone()
    x[0].zero_()
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_program_gives_what_the_function_gives(name):
    function = FUNCTIONS[name]
    x, y = torch.randn(2, 3), torch.randn(2, 3)
    _, run, used = written(function, x, y)
    assert len(used) == 2
    for _ in range(3):
        x, y = torch.randn(2, 3), torch.randn(2, 3)
        expected = function(x, y)
        expected = list(expected) if isinstance(expected, (list, tuple)) else [expected]
        for one, other in zip(run(x, y), expected, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)


def test_a_new_tensor_is_made_in_each_repeat():
    """What is written to it does not stay."""

    def function(x):
        total = torch.tensor([0.0, 0.0])
        total += x
        return total

    _, run, _ = written(function, torch.ones(2))
    assert [run(torch.ones(2))[0].tolist() for _ in range(3)] == [[1.0, 1.0]] * 3


def test_what_is_written_to_an_input_is_written_again():
    state = torch.zeros(2)
    _, run, used = written(lambda x, state: state.add_(x) * 2, torch.ones(2), state)
    other = torch.zeros(2)
    assert torch.equal(run(torch.ones(2), other)[0], torch.full((2,), 2.0))
    assert torch.equal(other, state)
    assert used == [True, True]


def test_what_is_not_needed_is_not_computed():
    _, run, used = written(lambda x, y: (x.exp(), y * 2)[1], torch.ones(2), torch.ones(2))
    assert used == [False, True]
    assert torch.equal(run(None, torch.ones(2))[0], torch.full((2,), 2.0))


DECISIONS = {
    "if": lambda x: x if x.sum() > 0 else -x,
    "item": lambda x: x * x.sum().item(),
    "float": lambda x: x * float(x[0]),
    "equal": lambda x: x * int(torch.equal(x, x)),
    "tolist": lambda x: x * sum(x.tolist()),
    "numpy": lambda x: x * x.numpy()[0],
    "array": lambda x: x * np.exp(x)[0],
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x[x.nonzero()[:, 0]],
}


@pytest.mark.parametrize("name", DECISIONS)
def test_a_number_that_comes_of_a_tensor_is_an_error(name):
    """It may be another one in a repeat. A shape that comes of a tensor comes of it there too."""
    x = torch.tensor([1.0, 2.0])
    if name in ("mask", "nonzero"):
        _, run, _ = written(DECISIONS[name], x)
        assert (
            run(torch.tensor([3.0, -1.0, 0.0]))[0].tolist() == DECISIONS[name](torch.tensor([3.0, -1.0, 0.0])).tolist()
        )
    else:
        with pytest.raises(ByValueError):
            written(DECISIONS[name], x)

"""Derivatives of small functions, within vmap and without."""

import pytest
import torch

from autoloss.core.tensors.derivatives import gradient, jacobian

VALUES = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5


def scalar(x):
    return (x.log() * x).mean().exp()


def several(x):
    return torch.tanh(x[:2] * x.sum())


@pytest.mark.parametrize("graph", [False, True])
def test_each_row_has_the_derivatives_that_it_has_in_a_batch(graph):
    with torch.set_grad_enabled(graph):
        found = torch.vmap(lambda x: gradient(scalar, x))(VALUES)
        value, slopes = torch.vmap(lambda x: jacobian(several, x))(VALUES)
        for i, x in enumerate(VALUES):
            torch.testing.assert_close(found[i], gradient(scalar, x))
            torch.testing.assert_close(found[i], torch.func.grad(scalar)(x))
            own, rows = jacobian(several, x)
            torch.testing.assert_close((value[i], slopes[i]), (own, rows))
            torch.testing.assert_close(rows, torch.func.jacrev(several)(x))
            assert not any(of.requires_grad for of in (found, value, slopes, own, rows))

"""A direction without its part along the step's gradient: what changes where a step goes, and not how far."""

import pytest
import torch

from autoloss.probe.turning import rounding, turning


def tensors(*shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]


def dot(one, other):
    return sum((one[p].conj() * other[p]).real.sum() for p in one)


def dictionaries(dtype=torch.float64):
    keys = tensors((3, 2), (4,), ())
    return [dict(zip(keys, tensors((3, 2), (4,), (), seed=s, dtype=dtype), strict=True)) for s in (1, 2)]


def test_it_is_the_derivative_for_a_gradient_of_constant_length():
    direction, gradients = dictionaries()
    found = turning(direction, gradients)
    leaves = {p: g.clone().requires_grad_() for p, g in gradients.items()}
    length = sum(g.square().sum() for g in leaves.values()).sqrt()
    value = sum((direction[p] * g).sum() * length.detach() / length for p, g in leaves.items())
    for one, other in zip(found.values(), torch.autograd.grad(value, list(leaves.values())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_gradients_scale_does_not_matter(factor):
    direction, gradients = dictionaries()
    scaled = turning(direction, {p: factor * g for p, g in gradients.items()})
    for one, other in zip(scaled.values(), turning(direction, gradients).values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_complex_parameters_count_as_pairs():
    keys = tensors((3,), dtype=torch.complex128)
    direction = {keys[0]: tensors((3,), seed=1, dtype=torch.complex128)[0]}
    gradients = {keys[0]: tensors((3,), seed=2, dtype=torch.complex128)[0]}
    found = turning(direction, gradients)
    assert found[keys[0]].dtype == torch.complex128
    assert abs(float(dot(found, gradients))) < 1e-12


def test_what_has_no_gradient_keeps_its_direction():
    direction, gradients = dictionaries()
    first = next(iter(direction))
    found = turning(direction, {p: g for p, g in gradients.items() if p is not first})
    assert torch.equal(found[first], direction[first])
    still = turning(direction, {p: torch.zeros_like(g) for p, g in gradients.items()})
    assert all(torch.equal(still[p], direction[p]) for p in direction)
    assert all(torch.equal(d, direction[p]) for p, d in turning(direction, {}).items())


def test_low_precision_is_summed_in_float32():
    keys = tensors((20_000,))
    direction, gradients = ({keys[0]: torch.full((20_000,), 1.0, dtype=torch.bfloat16)} for _ in range(2))
    found = turning(direction, gradients)
    assert found[keys[0]].dtype == torch.bfloat16
    assert found[keys[0]].abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_rounding_leaves_along_the_gradient_is_about_its_bound(dtype):
    direction, gradients = dictionaries(dtype)
    left = abs(float(dot(turning(direction, gradients), gradients)))
    bound = rounding(direction, gradients)
    assert left <= 4 * float(bound)
    lengths = [dot(one, one).sqrt() for one in (direction, gradients)]
    torch.testing.assert_close(bound, torch.finfo(dtype).eps * lengths[0] * lengths[1])
    assert rounding(direction, {}) is None

"""What holds for every weighting that solves on a Gram matrix, at its edges above all."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from autoloss.core.need import Need
from autoloss.core.registry.lookup import registry

# By name: how the weights go with the scale s of all gradients, as a power of s, where nothing is clipped.
METHODS = {
    "mgda": 0.0,
    "cagrad": 0.0,
    "pcgrad": 0.0,
    "gradvac": 0.0,
    "imtl_g": 0.0,
    "config": 0.0,
    "nash_mtl": -1.0,
    "fairgrad": -4 / 3,
    "aligned_mtl": 0.0,
    "upgrad": 0.0,
    "dualproj": 0.0,
    "chebyshev_center": 0.0,
    "dual_cone": 0.0,
}
RANDOM = ("pcgrad", "gradvac")
# Each promises gram @ weights >= 0.
UNCONFLICTING = ("mgda", "nash_mtl", "fairgrad", "upgrad", "dualproj", "imtl_g", "config", "chebyshev_center")
NAMES = "abcdef"

each = pytest.mark.parametrize("name", METHODS)
# Those whose weights do not depend on the order of the losses: dual_cone's first loss is its reference.
fixed_order = pytest.mark.parametrize("name", [name for name in METHODS if name not in (*RANDOM, "dual_cone")])


def jacobian(seed: int = 0, size: int = 6, space: int = 9) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(size, space, generator=source, dtype=torch.float64)
    return rows * 10 ** (2 * torch.rand(size, 1, generator=source) - 1)


@pytest.fixture(scope="session")
def weights_of(signals_of):
    """The weights that the registered weighting ``name`` gives for gradients that are the rows of a matrix."""

    def weights(name: str, rows: Tensor, present: list[bool] | None = None, **parameters) -> Tensor:
        rows = torch.as_tensor(rows, dtype=torch.float64)
        signals = signals_of(torch.ones(len(rows)), gram=rows @ rows.T, present=present)
        return registry.build("weighting", name, **parameters).bind(signals.names)(signals)

    return weights


def agree(found: Tensor, expected: Tensor, within: float = 1e-4) -> None:
    assert_close(found, expected, rtol=0, atol=within * float(expected.abs().max()))


@each
@pytest.mark.parametrize("scale", [1e-10, 1e-4, 1e-2, 1e2, 1e4, 1e10])
def test_scale_changes_nothing(name, scale, weights_of):
    free = {"max_norm": 0.0} if name in ("nash_mtl", "fairgrad") else {}
    expected = weights_of(name, jacobian(), **free)
    agree(weights_of(name, scale * jacobian(), **free) / scale ** METHODS[name], expected)


@fixed_order
def test_order_changes_nothing(name, weights_of):
    expected = weights_of(name, jacobian())
    for seed in range(3):
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        agree(weights_of(name, jacobian()[order]), expected[order])


@each
def test_rotation_of_the_parameters_changes_nothing(name, weights_of):
    turn = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    agree(weights_of(name, jacobian() @ turn), weights_of(name, jacobian()))


@pytest.mark.parametrize("name", UNCONFLICTING)
def test_no_loss_rises(name, weights_of):
    for seed in range(5):
        # In fewer directions than losses no direction is good for all, and d is 0; not so where it is a compromise.
        for space in (9, 30) if name in ("imtl_g", "config") else (2, 4, 9, 30):
            rows = jacobian(seed, space=space)
            norms, weights = rows.norm(dim=1), weights_of(name, rows).double()
            slopes = rows @ (weights @ rows)
            assert (slopes >= -1e-5 * norms * (weights.abs() * norms).sum()).all()


@each
def test_one_loss_keeps_its_gradient(name, weights_of):
    weights = weights_of(name, [[0.6, 0.8]])
    expected = 1.4 / 1.16 if name == "cagrad" else 1.0
    assert_close(weights, torch.tensor([expected]))


@fixed_order
def test_absent_losses_might_as_well_not_exist(name, weights_of):
    rows = jacobian()
    here = [True, False, True, True, False, True]
    agree(weights_of(name, rows, here)[here], weights_of(name, rows[here]))


@each
def test_a_zero_gradient_takes_no_part(name, weights_of):
    rows = jacobian()
    rows[[1, 4]] = 0
    here = [0, 2, 3, 5]
    weights = weights_of(name, rows)
    assert_close(weights[[1, 4]], torch.ones(2))
    assert_close(weights[here], weights_of(name, rows, [i in here for i in range(6)])[here])
    assert (weights[here].double() @ rows[here]).norm() > 0.01


@each
def test_zero_gradients_alone_get_equal_weights(name, weights_of):
    assert_close(weights_of(name, torch.zeros(3, 2)), torch.ones(3))


@each
@pytest.mark.parametrize("size", [2, 3, 6])
def test_identical_gradients_share_alike(name, size, weights_of):
    """And the step is the plain sum, or of the method's own length."""
    weights = weights_of(name, torch.tensor([[0.6, 0.8]]).repeat(size, 1))
    expected = {"cagrad": 1.4 / 1.16, "nash_mtl": 1 / size, "fairgrad": 1 / size}.get(name, 1.0)
    assert_close(weights.sum(), torch.tensor(size * expected), rtol=1e-4, atol=0)
    # The first loss of dual_cone is one of two sides, and shares its weight with none.
    alike = weights[1:] if name == "dual_cone" else weights
    assert_close(alike, alike[:1].expand(len(alike)), rtol=1e-4, atol=0)


@each
def test_opposite_gradients_are_treated_alike(name, weights_of):
    """No step is good for both. The weights are equal, finite and bounded: the heads must not explode."""
    weights = weights_of(name, [[0.6, 0.8], [-0.6, -0.8]])
    assert_close(weights[0], weights[1])
    assert 0.1 < weights[0] < (20000 if name == "fairgrad" else 2000)


@each
def test_opposite_gradients_do_not_stop_a_third(name, weights_of):
    """What is orthogonal to both still moves."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    down = weights_of(name, rows) @ rows
    assert down.isfinite().all()
    if name not in ("mgda", "chebyshev_center"):  # their shortest combination is the one that cancels
        assert down[1] > 0.5


@each
@pytest.mark.parametrize("nearness", [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nearly_dependent_gradients_are_bounded(name, nearness, sign, weights_of):
    source = torch.Generator().manual_seed(0)
    base = torch.randn(3, 8, generator=source, dtype=torch.float64)
    rows = torch.cat([base, sign * base + nearness * torch.randn(3, 8, generator=source)])
    weights = weights_of(name, rows)
    assert weights.isfinite().all()
    assert weights.abs().max() < 5000


@each
def test_more_losses_than_directions(name, weights_of):
    for seed in range(3):
        weights = weights_of(name, jacobian(seed, size=20, space=3))
        assert weights.isfinite().all()


@each
def test_a_gram_that_is_not_finite_shows(name, signals_of):
    for bad in (torch.nan, torch.inf):
        gram = torch.eye(3)
        gram[0, 1] = gram[1, 0] = bad
        signals = signals_of([1.0, 1.0, 1.0], gram=gram)
        weighting = registry.build("weighting", name).bind(signals.names)
        assert weighting(signals).isnan().all()
        weighting.update(signals)
        assert all(state.isfinite().all() for state in weighting.buffers())


@each
def test_autocast_does_not_touch_it(name, signals_of):
    rows = jacobian()
    signals = signals_of(torch.ones(6), gram=rows @ rows.T)
    weighting = registry.build("weighting", name).bind(signals.names)
    expected = weighting(signals)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(weighting(signals), expected, rtol=0, atol=0)


@each
def test_asks_for_the_gram_and_no_statistics(name):
    assert registry.load("weighting", name).needs == Need.VALUES | Need.GRAM


def test_mgda_sums_to_the_number_of_present_losses(weights_of):
    rows = jacobian()
    rows[1] = 0
    assert float(weights_of("mgda", rows).sum()) == pytest.approx(6)
    here = [True, True, True, False, True, True]
    assert float(weights_of("mgda", rows, here)[here].sum()) == pytest.approx(5)


@pytest.mark.parametrize("by", [1e-6, 1e-2, 1e6])
def test_nash_mtl_sees_directions_only(by, weights_of):
    """A loss times c has its weight divided by c, and the others keep theirs."""
    factor = torch.ones(6)
    factor[2] = by
    agree(weights_of("nash_mtl", jacobian() * factor[:, None]) * factor, weights_of("nash_mtl", jacobian()))


def test_imtl_g_turns_no_step_round(weights_of):
    """Where negative weights outweigh the positive, dividing by the sum would climb every loss."""
    rows = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [1e-3, 1e-3, 1e-5]])
    weights = weights_of("imtl_g", rows)
    assert weights.min() < -10
    assert ((rows @ (weights @ rows)) / rows.norm(dim=1) > 0).all()
    assert weights.abs().sum() <= 301

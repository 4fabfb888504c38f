"""Directions in the dual cone: two gradients (dual_cone), and its Chebyshev centre."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.weightings.chebyshev_center import ChebyshevCenter
from autoloss.weightings.dual_cone import VARIANTS, DualCone

# Gradients of one residual and two boundary losses: the residual hides the others, and works against their sum.
HIDDEN = torch.tensor([[-8.0, 3.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.5]], dtype=torch.float64)
AGREE = HIDDEN * torch.tensor([[-1.0], [1.0], [1.0]])


@pytest.fixture
def gradient_of(signals_of):
    """The weighted gradient for gradients that are the rows of a matrix."""

    def gradient(weighting, rows: Tensor) -> Tensor:
        signals = signals_of(torch.ones(len(rows)), gram=(rows @ rows.T))
        return weighting.bind(signals.names)(signals).double() @ rows

    return gradient


def parts(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return rows[0], rows[1:].sum(0), rows.sum(0)


def without(total: Tensor, direction: Tensor) -> Tensor:
    return total - (total @ direction) / (direction @ direction) * direction


@pytest.mark.parametrize("rows", [HIDDEN, AGREE], ids=["hidden", "agree"])
def test_the_center_is_the_total_on_the_bisector(rows, gradient_of):
    r, b, total = parts(rows)
    bisector = normalize(normalize(r, dim=0) + normalize(b, dim=0), dim=0)
    assert_close(gradient_of(DualCone(), rows), (total @ bisector) * bisector, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("turned", [False, True], ids=["boundary would rise", "residual would rise"])
def test_the_projection_takes_out_what_would_rise(turned, gradient_of):
    rows = torch.stack([HIDDEN[1] + HIDDEN[2], HIDDEN[0]]) if turned else HIDDEN
    r, b, total = parts(rows)
    risen = r if turned else b
    assert total @ risen < 0 <= total @ (b if turned else r)
    found = gradient_of(DualCone(variant="projection"), rows)
    assert_close(found, without(total, risen), rtol=1e-5, atol=1e-5)
    assert abs(found @ risen) < 1e-5 * found.norm() * risen.norm()


def test_the_average_of_both_projections(gradient_of):
    r, b, total = parts(HIDDEN)
    expected = (without(total, r) + without(total, b)) / 2
    assert_close(gradient_of(DualCone(variant="average"), HIDDEN), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["projection", "average"])
def test_a_total_in_the_cone_stays(variant, gradient_of):
    assert_close(gradient_of(DualCone(variant=variant), AGREE), AGREE.sum(0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_neither_the_residual_nor_the_boundary_rises(variant, gradient_of):
    for seed in range(20):
        rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        r, b, _ = parts(rows)
        found = gradient_of(DualCone(variant=variant), rows)
        assert min(found @ r / r.norm(), found @ b / b.norm()) > -1e-5 * rows.norm()


def test_the_reference_may_be_any_loss(gradient_of, signals_of):
    rows = HIDDEN[[1, 0, 2]]
    name = signals_of(torch.ones(3), gram=rows @ rows.T).names[1]
    assert_close(gradient_of(DualCone(reference=name), rows), gradient_of(DualCone(), HIDDEN))


def test_without_a_residual_or_a_boundary_all_weights_are_one(gradient_of):
    rows = HIDDEN.clone()
    rows[0] = 0
    assert_close(gradient_of(DualCone(), rows), rows.sum(0))
    cancelled = torch.stack([HIDDEN[0], HIDDEN[1], -HIDDEN[1]])
    assert_close(gradient_of(DualCone(), cancelled), HIDDEN[0])


def test_a_reference_or_variant_that_does_not_exist():
    with pytest.raises(UnknownNameError, match="pde"):
        DualCone(reference="pde").bind(["residual", "boundary"])
    with pytest.raises(ConfigError, match="`variant` must be one of center, projection, average, but variant='middle'"):
        DualCone(variant="middle")


def test_the_chebyshev_centre_is_the_best_worst_direction(gradient_of):
    """By brute force: no direction of many has a larger smallest projection on the unit gradients."""
    source = torch.Generator().manual_seed(0)
    for _ in range(5):
        rows = torch.randn(3, 3, generator=source, dtype=torch.float64) + 1
        rows *= torch.tensor([[1.0], [10.0], [0.1]])
        unit = normalize(rows)
        found = float((unit @ normalize(gradient_of(ChebyshevCenter(), rows), dim=0)).amin())
        tried = normalize(torch.randn(20_000, 3, generator=source, dtype=torch.float64))
        best = float((tried @ unit.T).amin(1).amax())
        assert best - 1e-4 <= found <= best + 0.02


def test_the_chebyshev_centre_of_two_is_the_bisector(gradient_of):
    rows = HIDDEN[:2]
    assert_close(gradient_of(ChebyshevCenter(), rows), gradient_of(DualCone(), rows), rtol=1e-4, atol=1e-4)


def test_the_chebyshev_centre_has_the_length_of_the_projections(gradient_of):
    found = gradient_of(ChebyshevCenter(), AGREE)
    assert_close(found.norm(), (AGREE @ normalize(found, dim=0)).sum(), rtol=1e-4, atol=0)


def test_a_loss_that_others_lower_on_their_way_has_no_weight(signals_of):
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [3.0, 0.1]])
    signals = signals_of(torch.ones(3), gram=rows @ rows.T)
    weights = ChebyshevCenter().bind(signals.names)(signals)
    assert weights[2] == 0
    assert (weights[:2] > 0).all()

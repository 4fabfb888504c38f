"""Each Gram form beside its textbook form, which works on the gradients themselves."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from autoloss.weightings.aligned_mtl import AlignedMtl
from autoloss.weightings.cagrad import Cagrad
from autoloss.weightings.config import Config
from autoloss.weightings.dualproj import Dualproj
from autoloss.weightings.fairgrad import Fairgrad
from autoloss.weightings.gradvac import Gradvac
from autoloss.weightings.imtl_g import ImtlG
from autoloss.weightings.mgda import Mgda
from autoloss.weightings.nash_mtl import NashMtl
from autoloss.weightings.pcgrad import Pcgrad
from autoloss.weightings.solvers.order import random_order
from autoloss.weightings.upgrad import Upgrad

SIZE, SPACE = 4, 7


def jacobian(seed: int) -> Tensor:
    """Gradients [K, P] of different norms, half of which point against the others."""
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(SIZE, SPACE, generator=source, dtype=torch.float64)
    rows += torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None] * torch.randn(SPACE, generator=source)
    return rows * torch.tensor([1.0, 3.0, 0.5, 2.0])[:, None]


@pytest.fixture(params=range(5))
def rows(request) -> Tensor:
    return jacobian(request.param)


@pytest.fixture
def gradient_of(signals_of, rows):
    """The weighted gradient that a weighting gives for ``rows``."""

    def gradient(weighting) -> Tensor:
        signals = signals_of(torch.ones(SIZE), gram=rows @ rows.T)
        return weighting.bind(signals.names)(signals).double() @ rows

    return gradient


def agree(found: Tensor, expected: Tensor, within: float = 2e-5) -> None:
    assert_close(found, expected, rtol=0, atol=within * float(expected.norm()))


def test_mgda_is_the_shortest_of_the_hull(rows, gradient_of):
    """Frank and Wolfe's method with exact line search, until its own gap says how far it is off."""
    weights = torch.full((SIZE,), 1 / SIZE, dtype=torch.float64)
    for _ in range(300):
        shortest = weights @ rows
        away = shortest - rows[(rows @ shortest).argmin()]
        gap = shortest @ away
        part = (gap / (away @ away).clamp(min=1e-12)).clamp(0, 1)
        corner = torch.zeros_like(weights)
        corner[(rows @ shortest).argmin()] = 1
        weights = torch.lerp(weights, corner, part)
    found = gradient_of(Mgda()) / SIZE
    # The squared distance to the optimum is at most the gap.
    assert (found - shortest).norm() <= gap.clamp(min=0).sqrt() + 1e-5 * shortest.norm()
    assert found.norm() <= shortest.norm() * (1 + 1e-5)


def test_cagrad_is_the_best_of_the_ball(rows, gradient_of):
    """The dual over the simplex, by exponentiated gradients; eq. 3 gives d from its w."""
    c, mean = 0.5, rows.mean(0)
    weights = torch.full((SIZE,), 1 / SIZE, dtype=torch.float64)
    radius = c * mean.norm()
    for step in range(2000):
        inside = weights @ rows
        slope = rows @ mean + radius * (rows @ inside) / inside.norm()
        weights = torch.softmax(weights.log() - slope / slope.abs().max() / (1 + step) ** 0.5, 0)
    inside = weights @ rows
    found = gradient_of(Cagrad(c, rescale=0)) / SIZE
    dual = inside @ mean + radius * inside.norm()
    assert float((rows @ found).min()) == pytest.approx(float(dual), abs=1e-3 * float(rows.norm() * mean.norm()))
    assert float((rows @ found).min()) <= float(dual) + 1e-5 * float(rows.norm() * mean.norm())
    assert float((found - mean).norm()) == pytest.approx(float(radius), rel=1e-5)


def test_pcgrad_projects_gradient_by_gradient(rows, gradient_of):
    order = random_order(SIZE, torch.arange(SIZE), seed=0, step=0)
    total = torch.zeros_like(rows[0])
    for i, others in enumerate(order.tolist()):
        projected = rows[i].clone()
        # Row i counts the others by their position among all.
        for j in others:
            slope = projected @ rows[j]
            if slope < 0:
                projected -= slope / (rows[j] @ rows[j]) * rows[j]
        total += projected
    agree(gradient_of(Pcgrad()), total)


def test_gradvac_vaccinates_gradient_by_gradient(signals_of):
    """Over several steps, as the targets move."""
    beta, targets = 0.3, torch.zeros(SIZE, SIZE, dtype=torch.float64)
    weighting = Gradvac(beta).bind("abcd")
    for step in range(6):
        rows = jacobian(step) + 1.5
        signals = signals_of(torch.ones(SIZE), gram=rows @ rows.T, step=step)
        total, seen = torch.zeros_like(rows[0]), torch.zeros_like(targets)
        for i, others in enumerate(random_order(SIZE, torch.arange(SIZE), 0, step).tolist()):
            turned = rows[i].clone()
            for j in others:
                c, t = torch.cosine_similarity(turned, rows[j], dim=0), targets[i, j]
                seen[i, j] = c
                if c < t:
                    factor = t * (1 - c**2).sqrt() - c * (1 - t**2).sqrt()
                    turned += turned.norm() * factor / (rows[j].norm() * (1 - t**2).sqrt()) * rows[j]
            total += turned
        agree(weighting(signals).double() @ rows, total)
        weighting.update(signals)
        targets += beta * (seen - targets)
        assert_close(weighting.targets.double(), targets, rtol=0, atol=1e-5)
    assert targets.abs().max() > 0.1


def test_imtl_g_is_the_papers_inverse(rows, gradient_of):
    units = normalize(rows)
    apart, turned = rows[0] - rows[1:], units[0] - units[1:]
    others = rows[0] @ turned.T @ torch.linalg.inv(apart @ turned.T)
    weights = torch.cat([1 - others.sum(0, keepdim=True), others])
    agree(gradient_of(ImtlG()), SIZE * weights @ rows)


def test_config_is_the_pseudo_inverse_of_the_directions(rows, gradient_of):
    direction = normalize(torch.linalg.pinv(normalize(rows)) @ torch.ones(SIZE, dtype=torch.float64), dim=0)
    agree(gradient_of(Config()), (rows @ direction).sum() * direction)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl_is_the_nearest_matrix_of_orthogonal_rows(scale, rows, gradient_of):
    left, singular, right = torch.linalg.svd(rows, full_matrices=False)
    squared = singular**2
    length = {"min": squared[-1], "median": squared.median(), "rmse": squared.mean()}[scale].sqrt()
    agree(gradient_of(AlignedMtl(scale)), (length * left @ right).sum(0), 1e-4)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fair_methods_climb_the_sum_of_utilities(alpha, rows, signals_of):
    """w_k = <g_k, d>^-alpha: with d free, the point where the sum of alpha-fair utilities of the falls is stationary."""
    signals = signals_of(torch.ones(SIZE), gram=rows @ rows.T)
    for weighting in [Fairgrad(alpha, 0)] + [NashMtl(0)] * (alpha == 1):
        weights = weighting.bind(signals.names)(signals).double()
        assert_close((rows @ (weights @ rows)) ** -alpha, weights, rtol=1e-4, atol=0)


def dykstra(vector: Tensor, rows: Tensor) -> Tensor:
    """The projection of ``vector`` on the cone of all d with <g, d> >= 0 for each g of ``rows``."""
    steps = torch.zeros_like(rows)
    for _ in range(400):
        for k, row in enumerate(rows):
            back = vector - steps[k]
            steps[k] = row * ((-back @ row).clamp(min=0) / (row @ row))
            vector = back + steps[k]
    return vector


def test_dualproj_projects_the_sum(rows, gradient_of):
    agree(gradient_of(Dualproj()), dykstra(rows.sum(0), rows), 1e-4)


def test_upgrad_projects_gradient_by_gradient(rows, gradient_of):
    agree(gradient_of(Upgrad()), sum(dykstra(row.clone(), rows) for row in rows), 1e-4)

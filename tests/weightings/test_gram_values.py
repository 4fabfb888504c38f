"""Weightings from a Gram matrix where the answer is known."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from autoloss.core.errors import ConfigError
from autoloss.core.weighting import Weighting
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
from autoloss.weightings.upgrad import Upgrad

CONFLICT = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
ORTHOGONAL = torch.diag(torch.tensor([3.0, 1.0]))


@pytest.fixture(scope="session")
def weights_of(signals_of):
    """The weights for gradients that are the rows of a matrix."""

    def weights(weighting: Weighting, rows: Tensor, step: int = 0) -> Tensor:
        rows = torch.as_tensor(rows, dtype=torch.float32)
        signals = signals_of(torch.ones(len(rows)), gram=rows @ rows.T, step=step)
        return weighting.bind(signals.names)(signals)

    return weights


@pytest.fixture(scope="session")
def gradient_of(weights_of):
    """The weighted gradient for gradients that are the rows of a matrix."""
    return lambda weighting, rows: weights_of(weighting, rows) @ torch.as_tensor(rows, dtype=torch.float32)


# Ours is the sum where the paper has the mean: upgrad, cagrad and mgda are K times as long here.
GRADIENTS = {
    "mgda": (Mgda, [0.0, 2.0, 2.0]),
    "pcgrad": (Pcgrad, [0.5848, 3.8012, 3.8012]),
    "gradvac": (Gradvac, [0.5848, 3.8012, 3.8012]),
    "upgrad": (Upgrad, [0.5848, 3.8012, 3.8012]),
    "imtl_g": (ImtlG, [2 * 0.0767, 2.0, 2.0]),
    "aligned_mtl": (AlignedMtl, [0.4266, 1.9347, 1.9347]),
    "config": (Config, [0.1588, 2.0706, 2.0706]),
    "cagrad 0": (lambda: Cagrad(0.5, rescale=0), [2 * 0.1835, 2 * 1.2041, 2 * 1.2041]),
    "cagrad 1": (lambda: Cagrad(0.5, rescale=1), [1.6 * 0.1835, 1.6 * 1.2041, 1.6 * 1.2041]),
    "cagrad 2": (lambda: Cagrad(0.5, rescale=2), [2 / 1.5 * 0.1835, 2 / 1.5 * 1.2041, 2 / 1.5 * 1.2041]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_of_two_conflicting_gradients(name, gradient_of):
    method, expected = GRADIENTS[name]
    assert_close(gradient_of(method(), CONFLICT), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_mgda_of_orthogonal_gradients(weights_of, gradient_of):
    assert_close(weights_of(Mgda(), ORTHOGONAL), torch.tensor([0.2, 1.8]))
    assert_close(gradient_of(Mgda(), ORTHOGONAL), torch.tensor([0.6, 1.8]))


@pytest.mark.parametrize(
    ("rows", "first"),
    [([[1.0, 0.0], [2.0, 0.0]], 2.0), ([[1.0, 0.0], [1.0, 1.0]], 2.0), ([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]], 1.2)],
)
def test_mgda_of_two_is_its_closed_form(rows, first, weights_of):
    """Exactly at a corner: the official solver stops at 0.999."""
    assert_close(weights_of(Mgda(), rows), torch.tensor([first, 2 - first]), rtol=0, atol=5e-6)


def test_mgda_of_directions_alone(weights_of):
    """With scaling=l2 the weighted gradients, and not the weights, are those of unit gradients."""
    weights = weights_of(Mgda("l2"), 1e3 * ORTHOGONAL)
    assert_close(weights * torch.tensor([3.0, 1.0]), torch.tensor([1.5, 1.5]))
    assert float(weights.sum()) == pytest.approx(2)


def test_pcgrad_of_two_is_its_closed_form(weights_of):
    assert_close(weights_of(Pcgrad(), CONFLICT), torch.tensor([2.2222, 1.5789]), rtol=1e-4, atol=0)


def test_upgrad_of_two_equals_pcgrad(weights_of):
    assert_close(weights_of(Upgrad(), CONFLICT), weights_of(Pcgrad(), CONFLICT))


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
def test_cagrad_of_identical_gradients(c, gradient_of):
    """(1 + c) times their sum, and rescale=1 divides by 1 + c^2."""
    rows = torch.tensor([[1.0, 2.0]]).repeat(3, 1)
    assert_close(gradient_of(Cagrad(c), rows), (1 + c) / (1 + c**2) * 3 * rows[0])


def test_cagrad_without_a_ball_is_the_sum(weights_of):
    assert_close(weights_of(Cagrad(0.0), CONFLICT), torch.ones(2))


def test_cagrad_fills_its_ball(gradient_of):
    torch.manual_seed(0)
    rows = torch.randn(4, 9)
    total = rows.sum(0)
    moved = gradient_of(Cagrad(0.7, rescale=0), rows) - total
    assert_close(moved.norm(), 0.7 * total.norm(), rtol=1e-5, atol=0)


def test_cagrad_with_a_large_ball_points_as_mgda(gradient_of):
    torch.manual_seed(0)
    rows = torch.randn(4, 9)
    one, other = gradient_of(Cagrad(1e4), rows), gradient_of(Mgda(), rows)
    assert float(torch.cosine_similarity(one, other, dim=0)) == pytest.approx(1, abs=1e-6)


def test_cagrad_of_gradients_that_sum_to_nothing_stays_there(weights_of):
    first, second = weights_of(Cagrad(), [[1.0, 0.0], [-1.0, 0.0]])
    assert 0.5 < first == second < 2


def test_imtl_g_of_two_balances_norms(weights_of):
    first, second = CONFLICT.norm(dim=1)
    assert_close(weights_of(ImtlG(), CONFLICT), 2 * torch.stack([second, first]) / (first + second))


@pytest.mark.parametrize("method", [ImtlG, Config])
def test_projections_on_all_directions_are_equal(method, gradient_of):
    torch.manual_seed(0)
    rows = torch.randn(5, 20) * torch.tensor([1.0, 2.0, 5.0, 10.0, 0.1])[:, None]
    along = torch.nn.functional.normalize(rows) @ gradient_of(method(), rows)
    assert_close(along, along.mean().expand(5), rtol=1e-4, atol=0)
    assert along.mean() > 0


def test_config_of_two_is_the_bisector(gradient_of):
    directions = torch.nn.functional.normalize(CONFLICT)
    found = gradient_of(Config(), CONFLICT)
    assert float(torch.cosine_similarity(found, directions.sum(0), dim=0)) == pytest.approx(1)
    assert float(torch.cosine_similarity(found, CONFLICT[0], dim=0)) == pytest.approx(0.28179, abs=1e-5)


def test_config_of_parallel_gradients_is_their_sum(gradient_of):
    assert_close(gradient_of(Config(), [[1.0, 0.0], [2.0, 0.0], [5.0, 0.0]]), torch.tensor([8.0, 0.0]))


def test_aligned_mtl_of_orthogonal_gradients(weights_of, gradient_of):
    assert_close(weights_of(AlignedMtl(), ORTHOGONAL), torch.tensor([1 / 3, 1.0]))
    assert_close(gradient_of(AlignedMtl(), ORTHOGONAL), torch.ones(2))
    assert_close(weights_of(AlignedMtl("rmse"), ORTHOGONAL), 5**0.5 * torch.tensor([1 / 3, 1.0]))
    assert_close(weights_of(AlignedMtl(), 7 * torch.eye(3)), torch.ones(3))


def test_aligned_mtl_scales_by_the_median(weights_of):
    rows = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    assert_close(weights_of(AlignedMtl("median"), rows), torch.tensor([2 / 3, 1.0, 2.0]))


def test_nash_mtl_of_orthogonal_gradients(weights_of):
    assert_close(weights_of(NashMtl(0), ORTHOGONAL), torch.tensor([1 / 3, 1.0]))


def test_nash_mtl_of_two_is_its_closed_form(weights_of, gradient_of):
    cosine = torch.cosine_similarity(*CONFLICT, dim=0)
    weights = weights_of(NashMtl(0), CONFLICT)
    assert_close(weights, 1 / (CONFLICT.norm(dim=1) * (1 + cosine).sqrt()), rtol=1e-5, atol=0)
    found = gradient_of(NashMtl(0), CONFLICT)
    assert float(found @ found) == pytest.approx(2, rel=1e-5)
    assert_close(weights * (CONFLICT @ found), torch.ones(2), rtol=1e-5, atol=0)


def test_nash_mtl_of_one_loss_is_its_direction(gradient_of):
    assert_close(gradient_of(NashMtl(), [[3.0, 4.0]]), torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("method", [NashMtl, lambda norm: Fairgrad(2.0, norm)], ids=["nash_mtl", "fairgrad"])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_clips_the_gradient(method, scale, gradient_of):
    free = gradient_of(method(0), scale * CONFLICT)
    norm = float(free.norm())
    assert_close(gradient_of(method(norm / 2), scale * CONFLICT), free / 2)
    assert_close(gradient_of(method(norm * 2), scale * CONFLICT), free)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0, 10.0])
def test_fairgrad_of_orthogonal_gradients(alpha, weights_of):
    expected = torch.tensor([3.0, 1.0]) ** (-2 * alpha / (alpha + 1))
    assert_close(weights_of(Fairgrad(alpha, 0), ORTHOGONAL), expected)


def test_fairgrad_with_alpha_one_is_nash_mtl(weights_of):
    assert_close(weights_of(Fairgrad(1.0), CONFLICT), weights_of(NashMtl(), CONFLICT))


class TestGradvac:
    def bound(self, signals_of, target: float, rows: Tensor):
        weighting = Gradvac(beta=0.25).bind(["a", "b"])
        weighting.targets.copy_(torch.tensor([[0.0, target], [target, 0.0]]))
        return weighting, signals_of([1.0, 1.0], gram=rows @ rows.T)

    @pytest.mark.parametrize("target", [-0.5, 0.0, 0.3, 0.9])
    def test_turns_gradients_to_the_target(self, target, signals_of):
        """What each gradient has become shows in the sum once the other's norm is negligible."""
        rows = torch.tensor([[1.0, 0.0], [-0.8, 0.6]])
        rows[1] *= 1e-4
        weighting, signals = self.bound(signals_of, target, rows)
        turned = weighting(signals) @ rows
        assert float(torch.cosine_similarity(turned, rows[1], dim=0)) == pytest.approx(target, abs=1e-3)

    def test_leaves_gradients_above_the_target(self, signals_of):
        weighting, signals = self.bound(signals_of, -0.9, torch.tensor([[1.0, 0.0], [-0.8, 0.6]]))
        assert_close(weighting(signals), torch.ones(2))

    @pytest.mark.parametrize("target", [-0.9, 0.3])
    def test_targets_move_whether_or_not_a_gradient_does(self, target, signals_of):
        weighting, signals = self.bound(signals_of, target, torch.tensor([[1.0, 0.0], [-0.8, 0.6]]))
        weighting(signals)
        assert_close(weighting.targets[0, 1], torch.tensor(target))
        weighting.update(signals)
        expected = 0.75 * target + 0.25 * -0.8
        assert_close(weighting.targets, torch.tensor([[0.0, expected], [expected, 0.0]]))


@pytest.mark.parametrize("method", [Pcgrad, Gradvac, Upgrad, Dualproj])
def test_without_conflict_it_is_the_plain_sum(method, weights_of):
    torch.manual_seed(0)
    assert_close(weights_of(method(), torch.rand(5, 8)), torch.ones(5))


def test_dualproj_projects_the_sum(gradient_of):
    """The sum (2, 0) is turned by g_1 = (-1, 1) alone."""
    assert_close(gradient_of(Dualproj(), [[-1.0, 1.0], [3.0, -1.0]]), torch.tensor([1.0, 1.0]))


def test_pcgrad_draws_its_order_from_seed_and_step(weights_of):
    torch.manual_seed(3)
    rows = torch.randn(5, 3)
    first = weights_of(Pcgrad(), rows, step=1)
    torch.manual_seed(4)
    assert_close(weights_of(Pcgrad(), rows, step=1), first, rtol=0, atol=0)
    assert any(not weights_of(Pcgrad(), rows, step=s).equal(first) for s in range(2, 6))
    assert any(not weights_of(Pcgrad(seed), rows, step=1).equal(first) for seed in range(2, 6))


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (Mgda, {"scaling": "l3"}),
        (Cagrad, {"c": -0.1}),
        (Cagrad, {"rescale": 3}),
        (Gradvac, {"beta": 1.5}),
        (NashMtl, {"max_norm": -1}),
        (Fairgrad, {"alpha": 0.0}),
        (Fairgrad, {"alpha": math.inf}),
        (AlignedMtl, {"scale": "max"}),
        (AlignedMtl, {"tolerance": 0.0}),
    ],
    ids=str,
)
def test_parameters_are_checked_when_built(method, wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"`{name}` must .*, but"):
        method(**wrong)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
@pytest.mark.parametrize("short", [1e-1, 1.1e-3, 0.9e-3, 1e-5, 1e-8])
def test_aligned_mtl_keeps_a_short_gradient_that_conflicts_with_nothing(signals_of, scale, short):
    gram = torch.diag(torch.tensor([1.0, short**2]))
    weights = AlignedMtl(scale).bind("ab")(signals_of([1.0, 1.0], gram))
    torch.testing.assert_close(weights[0] * 1.0, weights[1] * short, rtol=1e-5, atol=0)


def test_aligned_mtl_still_finds_gradients_that_cancel_or_are_one(signals_of):
    """As many directions as the cosines have: three gradients in a plane, one of them short."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1e-4, 1e-4]])
    weights = AlignedMtl().bind("abc")(signals_of([1.0] * 3, rows @ rows.T))
    assert weights.isfinite().all()
    direction = weights @ rows
    torch.testing.assert_close(direction[0], direction[1], rtol=1e-4, atol=0)
    assert direction.norm() > 1
    opposite = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert AlignedMtl().bind("ab")(signals_of([1.0] * 2, opposite)).tolist() == pytest.approx([1.0, 1.0], abs=1e-3)

"""Penalties by hand, by their minimisers, and against the public suite."""

from functools import partial

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.losses.penalties.orthogonality import Orthogonality
from autoloss.losses.penalties.sparsity import Sparsity
from autoloss.losses.penalties.weight_clip import WeightClip
from autoloss.testing import PenaltySuite

CASES = {name: {} for name in registry.names("penalty")} | {"weight_clip": {"radius": 0.5}, "sparsity": {"alpha": 0.2}}


class TestRegistered(PenaltySuite):
    @pytest.fixture(autouse=True, params=CASES)
    def _of(self, request: pytest.FixtureRequest) -> None:
        self.penalty = partial(registry.build, "penalty", request.param, **CASES[request.param])


def gradient(penalty, w: torch.Tensor) -> torch.Tensor:
    w = w.clone().requires_grad_()
    return torch.autograd.grad(penalty([w]), w)[0]


def test_weight_clip_within_at_and_beyond_its_radius() -> None:
    w = torch.tensor([3.0, 4.0])
    for scale, value, slope in ((0.1, 0.0, 0.0), (0.4, 0.0, 0.0), (0.8, 4.0, 4.0)):
        assert WeightClip(2.0)([scale * w]).item() == pytest.approx(value)
        torch.testing.assert_close(gradient(WeightClip(2.0), scale * w), slope * w / 5)
    assert gradient(WeightClip(0.0), torch.zeros(3)).tolist() == [0.0] * 3


def test_weight_clip_takes_each_tensor_by_itself() -> None:
    assert WeightClip(1.0)([torch.ones(4), 3 * torch.ones(1)]).item() == pytest.approx(1.0 + 4.0)


def test_sparsity_is_least_where_the_soft_threshold_is() -> None:
    target, alpha = torch.tensor([3.0, -0.5, 0.2, -2.0], dtype=torch.float64), 0.7
    best = (target.abs() - alpha).clamp(min=0) * target.sign() / 2

    def cost(w: torch.Tensor) -> float:
        return float(0.5 * (w - target).square().sum() + Sparsity(alpha)([w]))

    for i in range(4):
        for by in (-1e-3, 1e-3):
            moved = best.clone()
            moved[i] += by
            assert cost(moved) > cost(best)
    assert gradient(Sparsity(2.0), torch.zeros(2)).tolist() == [0.0, 0.0]


def test_orthogonality_by_definition_and_of_rotations() -> None:
    w = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    expected = (w.T @ w - torch.eye(3)).square().sum()
    assert torch.allclose(Orthogonality()([w]), expected)
    assert torch.allclose(Orthogonality()([w.T, torch.ones(3)]), expected)
    assert torch.allclose(Orthogonality()([w.T.reshape(3, 5, 1, 1)]), expected)
    rotation = torch.linalg.qr(w)[0]
    assert Orthogonality()([rotation, rotation.T]).item() == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: WeightClip(-1.0), "`radius` must be at least 0"),
        (lambda: Sparsity(-1.0), "`alpha` must be at least 0"),
        (
            lambda: Orthogonality()([torch.ones(3)]),
            r"needs a matrix among the parameters, but the shapes are \[\[3\]\]",
        ),
    ],
)
def test_what_does_not_fit_is_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()

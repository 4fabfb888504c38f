"""Further regression losses against torch's, their definitions and values worked out by hand."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError, LabelError
from autoloss.losses.adaptive_robust import AdaptiveRobust, log_partition
from autoloss.losses.gaussian_kl import GaussianKl
from autoloss.losses.gaussian_nll import GaussianNll
from autoloss.losses.log_cosh import LogCosh
from autoloss.losses.mae import Mae
from autoloss.losses.mse import Mse
from autoloss.losses.poisson import Poisson
from autoloss.losses.quantile import Quantile
from autoloss.losses.relative_l2 import RelativeL2
from autoloss.losses.smooth_l1 import SmoothL1
from autoloss.losses.smooth_l2 import SmoothL2
from autoloss.losses.total_variation import TotalVariation
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    PREDICTION, TARGET = (x.double() for x in samples.regression(16, 3, 2))
    SPREAD = torch.randn(16, 3, 2, dtype=torch.float64)
    RATES, COUNTS = torch.randn(16, 3).double(), torch.poisson(3 * torch.rand(16, 3)).double()


def slope(loss, error: float) -> float:
    at = torch.tensor([error], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(loss(at, torch.zeros(1, dtype=torch.float64)).sum(), at)[0].item()


def value(loss, error: float) -> float:
    return loss(torch.tensor([error], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)).item()


def test_relative_l2_by_definition() -> None:
    error = (PREDICTION - TARGET).flatten(1).norm(dim=1) / TARGET.flatten(1).norm(dim=1)
    assert torch.allclose(RelativeL2()(PREDICTION, TARGET), error)
    assert torch.allclose(RelativeL2()(100 * PREDICTION, 100 * TARGET), error)
    assert RelativeL2(0.1)(torch.tensor([[0.3, 0.4]]), torch.zeros(1, 2)).item() == pytest.approx(5.0)


def test_relative_l2_is_at_rest_at_the_target() -> None:
    at = TARGET.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(RelativeL2()(at, TARGET).sum(), at)
    assert not gradient.any()


def test_smooth_l2_is_smooth_l1_of_the_length() -> None:
    length = (PREDICTION - TARGET).flatten(1).norm(dim=1)
    for eps in (0.1, 2.0, 100.0):
        expected = functional.smooth_l1_loss(length, torch.zeros(16), beta=eps, reduction="none")
        assert torch.allclose(SmoothL2(eps)(PREDICTION, TARGET), expected)
    one = PREDICTION[:, 0, 0], TARGET[:, 0, 0]
    assert torch.allclose(SmoothL2(0.7)(*one), SmoothL1(0.7)(*one))


def test_smooth_l2_does_not_depend_on_the_axes_and_is_at_rest_at_0() -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    error = PREDICTION[:, :, 0]
    zeros = torch.zeros_like(error)
    assert torch.allclose(SmoothL2()(error @ turn, zeros), SmoothL2()(error, zeros))
    at = zeros.clone().requires_grad_()
    assert not torch.autograd.grad(SmoothL2()(at, zeros).sum(), at)[0].any()


def test_log_cosh_by_definition_and_where_cosh_overflows() -> None:
    expected = (PREDICTION - TARGET).cosh().log().mean((1, 2))
    assert torch.allclose(LogCosh()(PREDICTION, TARGET), expected)
    assert torch.allclose(LogCosh(2.0)(PREDICTION, TARGET), 4 * ((PREDICTION - TARGET) / 2).cosh().log().mean((1, 2)))
    assert value(LogCosh(), 1e4) == pytest.approx(1e4 - math.log(2))
    assert slope(LogCosh(3.0), 1.5) == pytest.approx(3 * math.tanh(0.5))


def test_log_cosh_does_not_cancel_in_single_precision() -> None:
    error = torch.tensor([1e-3])
    assert LogCosh()(error, torch.zeros(1)).item() == pytest.approx(5e-7, rel=1e-3)


def test_quantile_by_hand_and_its_half_is_half_of_mae() -> None:
    assert value(Quantile(0.9), -2.0) == pytest.approx(1.8)  # fell short by 2
    assert value(Quantile(0.9), 2.0) == pytest.approx(0.2)
    assert torch.allclose(Quantile(0.5)(PREDICTION, TARGET), Mae()(PREDICTION, TARGET) / 2)


def test_the_quantile_is_where_the_loss_is_least() -> None:
    drawn = torch.arange(1000, dtype=torch.float64)
    losses = {at: Quantile(0.8)(torch.full_like(drawn, at), drawn).mean().item() for at in range(700, 900, 10)}
    assert min(losses, key=losses.get) == 800


def test_poisson_agrees_with_torch() -> None:
    theirs = functional.poisson_nll_loss(RATES, COUNTS, log_input=True, reduction="none")
    assert torch.allclose(Poisson()(RATES, COUNTS), theirs.mean(1))


def test_poisson_goes_on_as_its_tangent() -> None:
    below, above = (slope(Poisson(), 30 + by) for by in (-1e-9, 1e-9))
    assert below == pytest.approx(above)
    assert value(Poisson(), 31.0) == pytest.approx(2 * math.exp(30))
    with pytest.raises(LabelError, match="Counts must be at least 0, but one is -1"):
        Poisson()(torch.zeros(2), torch.tensor([1.0, -1.0]))


def test_gaussian_nll_agrees_with_torch() -> None:
    theirs = functional.gaussian_nll_loss(PREDICTION, TARGET, SPREAD.exp(), reduction="none")
    assert torch.allclose(GaussianNll()(torch.cat([PREDICTION, SPREAD], 1), TARGET), theirs.mean((1, 2)))


def test_gaussian_nll_of_one_number_and_of_a_tiny_variance() -> None:
    prediction = torch.tensor([[1.0, 0.0], [1.0, -1000.0]])
    expected = [0.5 * 4.0, 0.5 * (math.log(0.01) + 4.0 / 0.01)]
    assert GaussianNll(0.01)(prediction, torch.tensor([3.0, 3.0])).tolist() == pytest.approx(expected)
    with pytest.raises(ConfigError, match=r"means and log-variances, \[B, 2D, ...\], but its shape is \[2, 3\]"):
        GaussianNll()(torch.zeros(2, 3), torch.zeros(2))


@pytest.mark.parametrize("alpha", [-math.inf, -2.0, 0.0, 1.0, 2.0])
def test_adaptive_robust_in_its_known_cases(alpha: float) -> None:
    z = (PREDICTION - TARGET) / 0.7
    known = {
        -math.inf: 1 - (-(z**2) / 2).exp(),
        -2.0: 2 * z**2 / (z**2 + 4),
        0.0: (z**2 / 2).log1p(),
        1.0: (z**2 + 1).sqrt() - 1,
        2.0: z**2 / 2,
    }[alpha]
    assert torch.allclose(AdaptiveRobust(alpha, 0.7)(PREDICTION, TARGET), known.mean((1, 2)))


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_adaptive_robust_is_continuous_in_its_shape(alpha: float) -> None:
    middle = AdaptiveRobust(alpha)(PREDICTION, TARGET)
    for by in (-1e-5, 1e-5, -2e-4, 2e-4):
        assert torch.allclose(AdaptiveRobust(alpha + by)(PREDICTION, TARGET), middle, rtol=5e-3)


def test_adaptive_robust_with_less_alpha_counts_outliers_less() -> None:
    slopes = [slope(AdaptiveRobust(alpha), 10.0) for alpha in (2.0, 1.0, 0.0, -2.0, -math.inf)]
    assert slopes == sorted(slopes, reverse=True)
    assert all(slope(AdaptiveRobust(alpha), 1e-6) == pytest.approx(1e-6) for alpha in (1.5, 0.0, -3.0))


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.001, math.pi * math.sqrt(2)), (1.0, 2 * math.e * 0.6019072301972346), (1.999, math.sqrt(2 * math.pi))],
)
def test_the_partition_function_where_it_is_known(alpha: float, expected: float) -> None:
    """Cauchy's at 0, by the Bessel function 2 e K_1(1) at 1, the normal one at 2."""
    found = log_partition(torch.tensor(alpha, dtype=torch.float64)).exp().item()
    assert found == pytest.approx(expected, rel=1e-5 if alpha == 1.0 else 3e-3)


def test_adaptive_robust_learns_how_heavy_the_tails_are() -> None:
    draw = torch.Generator().manual_seed(0)
    normal = 3 * torch.randn(500, generator=draw)
    cauchy = normal / torch.randn(500, generator=draw)
    shapes = []
    for errors, entropy in (
        (normal, math.log(3 * math.sqrt(2 * math.pi * math.e))),
        (cauchy, math.log(4 * math.pi * 3)),
    ):
        loss = AdaptiveRobust(learn=True)
        optimizer = torch.optim.Adam(loss.parameters(), 0.2)
        for _ in range(100):
            optimizer.zero_grad()
            value = loss(errors, torch.zeros(500)).mean()
            value.backward()
            optimizer.step()
        assert value.item() == pytest.approx(entropy, abs=0.15)  # a likelihood, and nearly the best one
        shapes.append(2 * loss.shape.sigmoid().item())
    assert shapes[0] > 1.4
    assert shapes[1] < 0.3


def test_total_variation_of_a_step_is_its_height_times_its_length() -> None:
    image = torch.zeros(1, 1, 4, 6)
    image[..., 3:] = 2.5
    # 4 rows of 5 differences, one of each is the step.
    assert TotalVariation()(image, image).item() * 4 * 5 == pytest.approx(2.5 * 4)
    assert TotalVariation()(torch.ones(2, 3, 4, 4), image).tolist() == [0.0, 0.0]
    isotropic = TotalVariation(isotropic=True, eps=1e-6)(image, image).item() * 3 * 5
    assert isotropic == pytest.approx(2.5 * 3, abs=1e-4)
    assert TotalVariation()(image.mT, image).item() == TotalVariation()(image, image).item()
    with pytest.raises(
        ConfigError, match=r"images \[B, ..., H, W\] of at least 2 x 2 pixels, but the prediction is \[4"
    ):
        TotalVariation()(torch.zeros(4, 64), torch.zeros(4, 64))


def test_mse_and_relative_l2_agree_on_unit_targets() -> None:
    unit = functional.normalize(TARGET.flatten(1), dim=1)
    prediction = PREDICTION.flatten(1)
    assert torch.allclose(RelativeL2()(prediction, unit) ** 2, 6 * Mse()(prediction, unit))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: RelativeL2(0.0), "`eps` must be above 0"),
        (lambda: SmoothL2(-1.0), "`eps` must be above 0, but eps=-1"),
        (lambda: LogCosh(-1.0), "`scale` must be above 0"),
        (lambda: Quantile(1.0), r"`q` must lie in \(0, 1\)"),
        (lambda: GaussianNll(0.0), "`smallest` must be above 0"),
        (lambda: AdaptiveRobust(math.nan), "`alpha` must be a number"),
        (lambda: AdaptiveRobust(-1.0, learn=True), r"`alpha` must lie in \(0, 2\) to be learned, but alpha=-1"),
        (lambda: AdaptiveRobust(scale=0.0), "`scale` must be above 0, but scale=0"),
        (lambda: TotalVariation(eps=0.0), "`eps` must be above 0, but eps=0"),
    ],
)
def test_wrong_parameters_are_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()


def test_gaussian_nll_comes_back_from_below_the_smallest_variance() -> None:
    for start, error, sign in ((-20.0, 1.0, -1), (-math.inf, 1.0, 0), (-20.0, 1e-4, 0), (-5.0, 1e-4, 1)):
        spread = torch.tensor([start], requires_grad=True)
        prediction = torch.stack([torch.zeros(1), spread], 1)
        value = GaussianNll()(prediction, torch.tensor([error]))
        assert value.isfinite()
        (gradient,) = torch.autograd.grad(value.sum(), spread)
        assert gradient.sign().item() == sign, (start, error)
    spread = torch.tensor([-20.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(
        GaussianNll(0.01)(torch.stack([torch.zeros(1), spread], 1), torch.ones(1)).sum(), spread
    )
    assert gradient.item() == pytest.approx(0.5 * (1 - 100))  # that at the least variance


@pytest.mark.parametrize("start", [-40.0, 40.0])
def test_gaussian_kl_comes_back_from_outside_its_log_variances(start: float) -> None:
    spread = torch.tensor([[0.0, start]], requires_grad=True)
    value = GaussianKl()(spread, torch.zeros(1, 2))
    assert value.item() == GaussianKl()(torch.tensor([[0.0, math.copysign(30.0, start)]]), torch.zeros(1, 2)).item()
    (gradient,) = torch.autograd.grad(value.sum(), spread)
    assert gradient[0, 1].sign() == math.copysign(1, start)


@pytest.mark.parametrize("alpha", [1e-4, 2 - 1e-4])
def test_a_learned_shape_comes_back_from_the_ends(alpha: float) -> None:
    loss = AdaptiveRobust(alpha, learn=True)
    loss(torch.tensor([3.0, -2.0]), torch.zeros(2)).mean().backward()
    assert loss.shape.grad is not None
    assert loss.shape.grad != 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("away", [9.9e-5, 1e-5, 1e-7, 1e-10, -5e-5])
def test_adaptive_robust_is_exact_near_2(away: float, dtype: torch.dtype) -> None:
    for error in (1e-3, 1.0, 10.0, 1e4):
        with localcontext() as context:
            context.prec = 60
            alpha, z = Decimal(2 - away), Decimal(torch.tensor(error, dtype=dtype).item()) ** 2
            between = abs(alpha - 2)
            expected = float(between / alpha * ((z / between + 1) ** (alpha / 2) - 1))
        found = AdaptiveRobust(2 - away)(torch.tensor([error], dtype=dtype), torch.zeros(1, dtype=dtype))
        rel = 1e-6 if dtype == torch.float32 else 1e-10
        assert found.item() == pytest.approx(expected, rel=rel), error


@pytest.mark.parametrize("alpha", [1e-7, -1e-7, 1e-5])
def test_adaptive_robust_is_exact_near_0(alpha: float) -> None:
    z = 1e8
    expected = (2 - alpha) / alpha * math.expm1(alpha / 2 * math.log1p(z / (2 - alpha)))
    found = AdaptiveRobust(alpha)(torch.tensor([1e4], dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.5, 1.999])
def test_the_partition_function_is_as_exact_as_it_says(alpha: float) -> None:
    found = log_partition(torch.tensor(alpha, dtype=torch.float64)).exp().item()
    nodes, step = 2_000_000, math.pi / 2 / 2_000_000
    squared = 2 * ((torch.arange(nodes, dtype=torch.float64) + 0.5) * step).tan().square()
    rho = (2 - alpha) / alpha * torch.expm1(alpha / 2 * (squared / (2 - alpha)).log1p())
    expected = (2 * math.sqrt(2) * step * ((-rho).exp() * (1 + squared / 2)).sum()).item()
    assert found == pytest.approx(expected, rel=4e-5 if alpha < 0.1 else 1e-7)

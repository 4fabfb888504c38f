"""Losses with numbers to tune: limits, textbook forms, and published values."""

import math
from itertools import product

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError
from autoloss.losses._tempered import log_tempered_exp, tempered_log
from autoloss.losses.bi_tempered import BiTempered, log_tempered_softmax
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.focal import Focal
from autoloss.losses.generalised_cross_entropy import GeneralisedCrossEntropy
from autoloss.losses.logit_adjusted import LogitAdjusted
from autoloss.losses.poly import Poly
from autoloss.losses.symmetric_cross_entropy import SymmetricCrossEntropy
from autoloss.losses.taylor import Taylor
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    LOGITS, CLASSES = samples.classes(16, 5)
    LOGITS = LOGITS.double()
    MIXTURES = torch.randn(16, 5, dtype=torch.float64).softmax(1)
P = LOGITS.softmax(1)
RIGHT = P.gather(1, CLASSES[:, None])[:, 0]
PLAIN = CrossEntropy()(LOGITS, CLASSES)


# Each is cross-entropy at its limit


@pytest.mark.parametrize(
    "loss",
    [
        GeneralisedCrossEntropy(0.0),
        SymmetricCrossEntropy(1.0, 0.0),
        BiTempered(1.0, 1.0),
        LogitAdjusted(),
        LogitAdjusted(priors=[3, 3, 3, 3, 3]),
        LogitAdjusted(priors=[1, 2, 3, 4, 5], tau=0.0),
        Poly(0.0),
    ],
)
def test_it_is_cross_entropy_at_its_limit(loss):
    torch.testing.assert_close(loss(LOGITS, CLASSES), PLAIN, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", [GeneralisedCrossEntropy(1e-9), BiTempered(1 - 1e-9, 1 + 1e-9)])
def test_it_is_near_to_cross_entropy_near_its_limit(loss):
    torch.testing.assert_close(loss(LOGITS, CLASSES), PLAIN, rtol=1e-7, atol=1e-8)


# Generalised and symmetric cross-entropy


def test_generalised_cross_entropy_by_definition_and_at_1_half_the_absolute_error():
    for q in (0.05, 0.3, 0.7, 1.0):
        torch.testing.assert_close(GeneralisedCrossEntropy(q)(LOGITS, CLASSES), (1 - RIGHT**q) / q)
    error = (P - functional.one_hot(CLASSES, 5)).abs().sum(1)
    torch.testing.assert_close(GeneralisedCrossEntropy(1.0)(LOGITS, CLASSES), error / 2)


def test_the_gradient_of_generalised_cross_entropy_is_that_of_cross_entropy_times_a_power():
    logits = LOGITS.clone().requires_grad_()
    (found,) = torch.autograd.grad(GeneralisedCrossEntropy(0.7)(logits, CLASSES).sum(), logits)
    (plain,) = torch.autograd.grad(CrossEntropy()(logits, CLASSES).sum(), logits)
    torch.testing.assert_close(found, plain * RIGHT[:, None] ** 0.7)


def test_symmetric_cross_entropy_is_the_sum_over_classes_with_log_0():
    truth = functional.one_hot(CLASSES, 5).double()
    reverse = -(P * torch.where(truth > 0, 0.0, -4.0)).sum(1)
    torch.testing.assert_close(SymmetricCrossEntropy(0.3, 2.0)(LOGITS, CLASSES), 0.3 * PLAIN + 2 * reverse)


# Bi-tempered


def by_bisection(logits: torch.Tensor, t: float) -> torch.Tensor:
    """The tempered softmax, its normalisation found by halving an interval."""
    s = t - 1
    low = logits.amax(1, keepdim=True)
    high = low + logits.shape[1] ** s / s
    for _ in range(200):
        middle = (low + high) / 2
        above = (1 + s * (middle - logits)).pow(-1 / s).sum(1, keepdim=True) > 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (1 + s * (low - logits)).pow(-1 / s)


@pytest.mark.parametrize("t", [1.01, 1.2, 2.0, 4.0])
@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (10, 3.0), (1000, 1.0), (1000, 100.0)])
def test_the_tempered_softmax_is_normalised(t, classes, scale):
    logits = scale * torch.randn(4, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = log_tempered_softmax(logits, t).exp()
    torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(found, by_bisection(logits, t), rtol=1e-9, atol=1e-14)


def test_the_tempered_softmax_of_1_is_the_softmax():
    torch.testing.assert_close(log_tempered_softmax(LOGITS, 1.0), LOGITS.log_softmax(1), rtol=1e-12, atol=1e-13)


def test_bi_tempered_gives_the_numbers_that_its_authors_test():
    logits = torch.tensor([[-0.5, 0.1, 2.0], [0.1, 1.5, -5.0], [4.0, -3.0, -6.0]])
    truth = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.2, 0.8, 0.0]])
    found = BiTempered(0.5, 1.5)(logits, truth)
    torch.testing.assert_close(found, torch.tensor([0.02301914, 0.18972909, 0.93874922]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("t1", "t2"), list(product((0.0, 0.5, 1.0), (1.0, 1.5, 3.0))))
def test_bi_tempered_of_classes_is_that_of_certain_probabilities_and_0_where_the_prediction_is_right(t1, t2):
    loss, truth = BiTempered(t1, t2), functional.one_hot(CLASSES, 5).double()
    torch.testing.assert_close(loss(LOGITS, CLASSES), loss(LOGITS, truth))
    p = log_tempered_softmax(LOGITS, t2).exp()
    assert loss(LOGITS, p).abs().max() < 1e-12
    assert (loss(LOGITS, MIXTURES) > 0).all()


def test_bi_tempered_is_bounded_for_t1_below_1():
    wrong = torch.tensor([[0.0, 1e4], [0.0, 1e30]])
    assert (BiTempered(0.5, 1.2)(wrong, torch.tensor([0, 0])) <= 1 / 0.5 + 1e-5).all()
    assert BiTempered(1.0, 1.0)(wrong[:1], torch.tensor([0])) == 1e4


def test_the_tempered_logarithm_and_exponential_are_inverse():
    x = torch.logspace(-1, 1, 61, dtype=torch.float64)
    for s in (-0.9, -0.01, -1e-8, 0.0, 1e-12, 0.01, 0.5, 3.0):
        torch.testing.assert_close(log_tempered_exp(tempered_log(x.log(), s), s), x.log(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(tempered_log(x.log(), 0.5), (x**0.5 - 1) / 0.5)


# Poly


def test_poly_by_its_series():
    """Cross-entropy's own coefficients 1 / j, up to where they no longer count, plus those that are added."""
    confident = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0])
    m = 1 - confident.softmax(1)[:, 0]
    series = sum((1 / j + {1: 2.0, 2: 0.3, 3: -0.2}.get(j, 0.0)) * m**j for j in range(1, 400))
    torch.testing.assert_close(Poly(2.0, 0.3, -0.2)(confident, labels), series)
    torch.testing.assert_close(Poly(2.0, 0.3, -0.2, gamma=1.5)(confident, labels), series * m**1.5)


def test_poly_of_nothing_is_the_focal_loss():
    torch.testing.assert_close(Poly(0.0, gamma=2.0)(LOGITS, CLASSES), Focal(2.0)(LOGITS, CLASSES))


# Logit adjustment


def test_logit_adjustment_by_definition():
    priors = [1.0, 2.0, 3.0, 4.0, 10.0]
    shifted = LOGITS + 0.7 * torch.tensor(priors, dtype=torch.float64).log()
    torch.testing.assert_close(LogitAdjusted(priors, 0.7)(LOGITS, CLASSES), CrossEntropy()(shifted, CLASSES))
    counts = [100 * p for p in priors]
    torch.testing.assert_close(LogitAdjusted(counts, 0.7)(LOGITS, CLASSES), CrossEntropy()(shifted, CLASSES))
    offsets = [0.7 * math.log(p) for p in priors]
    torch.testing.assert_close(LogitAdjusted(offsets=offsets)(LOGITS, CLASSES), CrossEntropy()(shifted, CLASSES))
    twice = LogitAdjusted(priors, 0.7, offsets)
    torch.testing.assert_close(
        twice(LOGITS, CLASSES), CrossEntropy()(LOGITS + 2 * shifted - 2 * LOGITS, CLASSES), rtol=1e-9, atol=1e-9
    )


def test_with_the_true_priors_the_logits_at_the_minimum_forget_them():
    """Classes that overlap alike, 9 to 1: the best logits are those of equal classes."""
    density = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=torch.float64)  # of two inputs, for each class
    joint = torch.tensor([0.9, 0.1], dtype=torch.float64)[:, None] * density
    table = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)  # logits of each input
    loss = LogitAdjusted([0.9, 0.1])
    optimizer = torch.optim.LBFGS([table], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-16)

    def closure():
        optimizer.zero_grad()
        each = torch.stack([loss(table, torch.full((2,), c)) for c in (0, 1)])
        total = (joint * each).sum()
        total.backward()
        return total

    optimizer.step(closure)
    expected = (density / density.sum(0)).T
    torch.testing.assert_close(table.detach().softmax(1), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: GeneralisedCrossEntropy(1.2), r"`q` must lie in \[0, 1\], but q=1.2"),
        (lambda: SymmetricCrossEntropy(0.0, 0.0), "at least one above 0, but alpha=0.0, beta=0.0"),
        (lambda: SymmetricCrossEntropy(log_zero=0.0), "`log_zero` must be below 0"),
        (lambda: BiTempered(t1=1.1), r"`t1` must lie in \[0, 1\], but t1=1.1"),
        (lambda: BiTempered(t2=0.9), "`t2` must be at least 1, but t2=0.9"),
        (lambda: Poly(-1.5), "`e1` must be at least -1: no coefficient may be below 0, but e1=-1.5"),
        (lambda: Poly(e2=-0.6), "`e2` must be at least -1/2"),
        (lambda: Poly(gamma=-1.0), "`gamma` must be at least 0"),
        (lambda: LogitAdjusted([1.0, 0.0]), "`priors` must be above 0"),
        (lambda: LogitAdjusted([1.0, 2.0], offsets=[1.0]), "a number for each class, but there are 1 and 2"),
        (lambda: LogitAdjusted([1.0, 2.0])(LOGITS, CLASSES), "a number for each class, but there are 2 for 5 classes"),
        (lambda: LogitAdjusted(tau=-1.0), "`tau` must be at least 0"),
    ],
)
def test_wrong_numbers_are_named(wrong, said):
    with pytest.raises(ConfigError, match=said):
        wrong()


# Taylor


def test_taylor_is_what_its_source_writes():
    t = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, -0.7, 0.8]
    x, y = MIXTURES, P
    f = (
        t[2] * (y - t[1])
        + t[3] / 2 * (y - t[1]) ** 2
        + t[4] / 6 * (y - t[1]) ** 3
        + t[5] * (x - t[0]) * (y - t[1])
        + t[6] / 2 * (x - t[0]) * (y - t[1]) ** 2
        + t[7] / 2 * (x - t[0]) ** 2 * (y - t[1])
    )
    torch.testing.assert_close(Taylor(*t)(LOGITS, MIXTURES), -f.mean(1))


def test_taylor_begins_as_the_expansion_of_cross_entropy_and_can_be_the_squared_error():
    m = 1 - RIGHT
    torch.testing.assert_close(5 * Taylor()(LOGITS, CLASSES), m + m**2 / 2)
    truth = functional.one_hot(CLASSES, 5).double()
    squared = Taylor(theta1=0.0, theta3=-2.0, theta5=2.0, theta6=0.0)
    # (y - x)^2 = y^2 - 2 x y + x^2, and the last has no gradient
    torch.testing.assert_close(squared(LOGITS, CLASSES), ((P - truth) ** 2 - truth**2).mean(1))

"""The rules against their formulas, at points that can be checked on paper."""

import math
from fractions import Fraction

import pytest
import torch

from autoloss import Samples
from autoloss.sample_weightings.class_balanced import ClassBalanced
from autoloss.sample_weightings.focal import Focal
from autoloss.sample_weightings.percentile import Percentile
from autoloss.sample_weightings.self_paced import FORMS, SelfPaced
from autoloss.sample_weightings.small_loss import SmallLoss
from autoloss.sample_weightings.super_loss import SuperLoss, lambert
from autoloss.sample_weightings.top_k import TopK

LEVELS = (0.05, 0.5, 0.95, 2.0, 30.0)


def batch(*losses, **known) -> Samples:
    values = torch.tensor(losses)
    return Samples("a", values, torch.ones_like(values, dtype=torch.bool), **known)


def weights(rule, *losses, size=None, **known):
    return rule.bind(size)(batch(*losses, **known))


# Focal reweighting


def test_focal_is_the_power_of_what_is_missed():
    p = torch.tensor([0.3, 0.9, 1.0])
    found = weights(Focal(gamma=2.0), *(-p.log()).tolist())
    torch.testing.assert_close(found, (1 - p) ** 2)
    # times the cross-entropy and alpha = 1/4 this is the focal loss of p = 0.3
    assert 0.25 * found[0] * -math.log(0.3) == pytest.approx(0.147487, abs=1e-6)


def test_focal_with_gamma_0_is_uniform():
    assert weights(Focal(gamma=0.0), 0.0, 1.0, 5.0).tolist() == [1, 1, 1]


# Self-paced


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", FORMS)
def test_self_paced_weights_fall_from_1_to_0_within_bounds(form, level):
    losses = torch.cat([torch.zeros(1), torch.logspace(-6, 6, 400)])
    found = SelfPaced(form=form).weigh(losses, torch.tensor(level))
    assert found[0] == 1
    assert bool((found >= 0).all())
    assert bool((found <= 1).all())
    assert bool((found.diff() <= 1e-6).all())
    beyond = SelfPaced(form=form).weigh(torch.tensor([level, 1.001 * level, 9 * level]), torch.tensor(level))
    if form == "logistic":
        assert bool((beyond[:2] > 0.4).all())
    else:
        torch.testing.assert_close(beyond, torch.zeros(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_self_paced_weights_minimise_their_objective(form):
    """v minimises v l + f(v), by a search over a grid; the regularisers are those of the papers."""
    level, mix, power = 0.7, 0.5, 3.0
    rule = SelfPaced(form=form, mix=mix, power=power)
    v = torch.linspace(1e-6, 1 - 1e-6, 200_001, dtype=torch.float64)
    z, zm = 1 - level, mix * level / (1 - mix)
    regulariser = {
        "hard": -level * v,
        "linear": level * (v**2 / 2 - v),
        "logarithmic": z * v - z**v / math.log(z),
        "mixture": -zm * (v + zm / level).log(),
        "logistic": None,
        "polynomial": level * (v**power / power - v),
    }[form]
    if form == "logistic":
        c = 1 + math.exp(-level)
        regulariser = (c - v) * (c - v).log() + v * v.log() - level * v
    for loss in (0.05, 0.2, 0.4, 0.6, 0.69, 0.71, 1.5):
        best = v[(v * loss + regulariser).argmin()]
        found = rule.weigh(torch.tensor([loss]), torch.tensor(level))
        assert float(found) == pytest.approx(float(best), abs=1e-3), loss


def test_the_mixture_is_continuous_at_both_ends():
    level, rule = torch.tensor(2.0), SelfPaced(form="mixture", mix=0.25)
    near = torch.tensor([0.5 - 1e-5, 0.5 + 1e-5, 2 - 1e-5, 2 + 1e-5])
    torch.testing.assert_close(rule.weigh(near, level), torch.tensor([1.0, 1.0, 0.0, 0.0]), atol=1e-4, rtol=0)


def test_the_logarithmic_form_is_finite_at_thresholds_of_1_and_more():
    for level in (0.99, 1.0, 5.0, 1e6):
        found = SelfPaced(form="logarithmic").weigh(level * torch.linspace(0, 2, 9), torch.tensor(level))
        assert bool(found.isfinite().all())


def test_self_paced_keeps_the_share_that_it_is_told():
    losses = torch.rand(1000, generator=torch.Generator().manual_seed(0)).tolist()
    for keep in (0.25, 0.5, 0.9):
        assert weights(SelfPaced(keep=keep, burn_in=0), *losses).mean() == pytest.approx(keep, abs=2e-3)
    rule = SelfPaced(keep="linear(0.2,1)", burn_in=0)
    for progress in (0.0, 0.5, 1.0):
        kept = weights(rule, *losses, progress=progress).mean()
        assert kept == pytest.approx(0.2 + 0.8 * progress, abs=2e-3)


def test_weights_are_uniform_while_it_burns_in():
    assert weights(SelfPaced(threshold=2.0, burn_in=3), 1.0, 9.0, epoch=2).tolist() == [1, 1]
    assert weights(SelfPaced(threshold=2.0, burn_in=3), 1.0, 9.0, epoch=3).tolist() == [1, 0]


def test_a_threshold_is_taken_as_it_is():
    assert weights(SelfPaced(threshold=2.0), 1.9, 2.0, 2.1, epoch=1).tolist() == [1, 0, 0]


def test_the_level_is_a_moving_average_of_the_batches_quantiles():
    rule = SelfPaced(keep=0.5, decay=0.9).bind()
    rule.update(batch(0.0, 1.0, 2.0))
    rule.update(batch(10.0, 11.0, 12.0))
    assert rule.average == pytest.approx(0.9 * 1 + 0.1 * 11)


# SuperLoss


def test_super_loss_at_its_landmarks():
    tau, lam = 1.0, 0.5
    losses = (tau, tau - 2 * lam / math.e, tau - 50, tau + 2 * lam)
    found = weights(SuperLoss(tau=tau, lam=lam), *losses)
    assert found.isfinite().all()
    assert found[0] == 1
    assert found[1] == pytest.approx(math.e, rel=1e-3)
    assert found[2] == pytest.approx(math.e)
    assert found[3] == pytest.approx(0.567143, abs=1e-6)


def test_super_loss_is_the_minimum_and_its_gradient_the_weight():
    tau, lam = 0.8, 0.7
    s = torch.logspace(-4, math.log10(math.e), 100_001, dtype=torch.float64)  # beyond e it falls again

    def value(loss: float) -> tuple[float, float]:
        all_of_them = (loss - tau) * s + lam * s.log() ** 2
        at = all_of_them.argmin()
        return float(all_of_them[at]), float(s[at])

    for loss in (0.4, 0.8, 1.5, 4.0):
        found = float(weights(SuperLoss(tau=tau, lam=lam), loss))
        assert found == pytest.approx(value(loss)[1], rel=1e-3)
        slope = (value(loss + 1e-3)[0] - value(loss - 1e-3)[0]) / 2e-3
        assert found == pytest.approx(slope, rel=1e-3)


def test_super_loss_is_nearly_uniform_for_a_large_lambda():
    torch.testing.assert_close(weights(SuperLoss(tau=1.0, lam=1e6), 0.0, 1.0, 3.0), torch.ones(3), atol=1e-5, rtol=0)


def test_lambert_against_scipy():
    special = pytest.importorskip("scipy.special")
    below = -1 / math.e + torch.logspace(-7, -1, 60)
    x = torch.cat([below, torch.linspace(-0.36, 3, 400), torch.logspace(0, 30, 100)])
    expected = torch.tensor(special.lambertw(x.double().numpy()).real).float()
    torch.testing.assert_close(lambert(x), expected, rtol=2e-6, atol=1e-6)


def test_tau_is_the_moving_mean():
    rule = SuperLoss(decay=0.9).bind()
    rule.update(batch(1.0, 3.0))
    rule.update(batch(5.0, 9.0))
    assert rule.average == pytest.approx(0.9 * 2 + 0.1 * 7)


# Selections


def test_top_k_is_the_mean_over_the_hardest():
    assert weights(TopK(share=0.5), 1.0, 4.0, 2.0, 3.0).tolist() == [0, 2, 0, 2]
    assert weights(TopK(share=0.01), 1.0, 4.0, 2.0, 3.0).tolist() == [0, 4, 0, 0]
    assert weights(TopK(share=1.0), 1.0, 4.0).tolist() == [1, 1]


def test_small_loss_keeps_all_at_first_and_1_minus_rate_from_the_ramp_on():
    rule = SmallLoss(rate=0.4, ramp=10)
    assert (rule.kept(0), rule.kept(10), rule.kept(99)) == (1, 0.6, 0.6)
    losses = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert weights(rule, *losses, epoch=0).tolist() == [1] * 5
    torch.testing.assert_close(weights(rule, *losses, epoch=10), torch.tensor([0, 5 / 3, 0, 5 / 3, 5 / 3]))
    assert weights(SmallLoss(rate=0.9, ramp=1), 2.0, 1.0, epoch=1).tolist() == [0, 2]


def test_percentile_cuts_at_the_moving_percentile_after_its_burn_in():
    rule = Percentile(p=0.5, decay=0.5, burn_in=1).bind()
    assert rule(batch(1.0, 2.0, 3.0)).tolist() == [1, 1, 1]
    rule.update(batch(1.0, 2.0, 3.0))
    rule.update(batch(5.0, 6.0, 7.0))
    assert rule.average == 4
    assert rule(batch(4.0, 4.0, 4.1, epoch=1)).tolist() == [1, 1, 0]


def test_percentile_with_a_slope_falls_in_a_line():
    rule = Percentile(p=0.5, slope=0.5).bind()
    torch.testing.assert_close(rule(batch(1.0, 2.0, 2.5, 9.0, 1.0)), torch.tensor([1, 1, 0.5, 0, 1]), atol=1e-4, rtol=0)


# Classes


def test_class_balanced_is_the_inverse_of_the_effective_number():
    labels, beta = torch.tensor([0, 0, 0, 2]), 0.9
    found = weights(ClassBalanced(beta=beta), 1.0, 1.0, 1.0, 1.0, known_labels=labels)
    raw = torch.tensor([(1 - beta) / (1 - beta**n) for n in (3, 1)])
    expected = raw * 2 / raw.sum()
    torch.testing.assert_close(found, expected[[0, 0, 0, 1]])


def test_class_balanced_counts_as_it_goes_and_scales_to_the_data():
    rule = ClassBalanced(beta=0.999).bind(4000)
    for _ in range(2):
        rule.update(batch(1.0, 1.0, 1.0, 1.0, known_labels=torch.tensor([0, 0, 0, 1])))
    found = rule(batch(1.0, 1.0, 1.0, 1.0, known_labels=torch.tensor([0, 0, 0, 1])))
    raw = torch.tensor([1 / (1 - 0.999**n) for n in (3000, 1000)])
    torch.testing.assert_close(found[[0, 3]], raw * 2 / raw.sum(), rtol=1e-3, atol=1e-4)


def test_a_batch_of_one_class_and_labels_that_are_never_seen_are_fine():
    one = weights(ClassBalanced(), 1.0, 2.0, known_labels=torch.tensor([7, 7]))
    assert one.tolist() == [1, 1]


@pytest.mark.parametrize("share", [f"{i / 20:g}" for i in range(1, 20)])
def test_a_whole_share_of_the_samples_is_chosen_as_it_is(share):
    """0.3 * 10 and (1 - 0.4) * 10 are not whole in float32."""
    for n in [*range(1, 200), 1000, 1020, 5000, 20000, 100000]:
        exact = Fraction(share) * n
        losses = torch.arange(float(n))
        samples = Samples("a", losses, torch.ones(n, dtype=torch.bool), epoch=1)
        assert int((TopK(float(share))(samples) > 0).sum()) == math.ceil(exact), n
        kept = int((SmallLoss(1 - float(share), ramp=1)(samples) > 0).sum())
        assert kept == max(1, math.floor(exact)), n


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999999, 0.99999999, 1 - 1e-9, 1 - 1e-12])
def test_class_balanced_near_1_is_the_inverse_of_the_frequency(beta):
    rule = ClassBalanced(beta=beta, classes=3)
    labels = torch.tensor([0] * 90 + [1] * 10)
    found = weights(rule, *[1.0] * 100, size=10**8, known_labels=labels)[[0, 95]]
    inverse = [1 / -math.expm1(n * math.log(beta)) if beta else 1.0 for n in (9e7, 1e7)]
    expected = [2 * x / sum(inverse) for x in inverse]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)

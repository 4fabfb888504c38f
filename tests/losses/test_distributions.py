"""Losses of distributions against torch's, their definitions and values worked out by hand."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.losses.consistency import Consistency
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.distillation import Distillation
from autoloss.losses.entropy import Entropy
from autoloss.losses.gaussian_kl import GaussianKl
from autoloss.losses.js import Js
from autoloss.losses.kl import Kl

with torch.random.fork_rng():
    torch.manual_seed(0)
    LOGITS, TEACHER = torch.randn(16, 5).double() * 2, torch.randn(16, 5).double() * 2
    TRUE = torch.randn(16, 5).double().softmax(1)
    NORMAL, PRIOR = torch.randn(16, 6).double(), torch.randn(16, 6).double()
ONE_HOT = torch.eye(5, dtype=torch.float64)


def test_kl_agrees_with_torch() -> None:
    theirs = functional.kl_div(LOGITS.log_softmax(1), TRUE, reduction="none").sum(1)
    assert torch.allclose(Kl()(LOGITS, TRUE), theirs)
    assert torch.allclose(
        Kl()(LOGITS, TRUE).mean(), functional.kl_div(LOGITS.log_softmax(1), TRUE, reduction="batchmean")
    )


def test_kl_is_nothing_between_equals_and_cross_entropy_for_one_class() -> None:
    assert torch.allclose(Kl()(TRUE.log(), TRUE), torch.zeros(16).double(), atol=1e-12)
    assert torch.allclose(Kl()(LOGITS[:5], ONE_HOT), CrossEntropy()(LOGITS[:5], torch.arange(5)))


def test_free_bits_cost_nothing_beyond_themselves() -> None:
    plain = Kl()(LOGITS, TRUE)
    bits = plain.median().item()
    logits = LOGITS.clone().requires_grad_()
    free = Kl(bits)(logits, TRUE)
    assert torch.allclose(free, plain.clamp(min=bits))
    (gradient,) = torch.autograd.grad(free.sum(), logits)
    assert (gradient[plain < bits] == 0).all()
    assert gradient[plain > bits].any(1).all()


def test_gaussian_kl_agrees_with_torch() -> None:
    def normal(x: torch.Tensor) -> Normal:
        return Normal(x[:, :3], (x[:, 3:] / 2).exp())

    assert torch.allclose(GaussianKl()(NORMAL, PRIOR), kl_divergence(normal(NORMAL), normal(PRIOR)).sum(1))
    mean, spread = NORMAL.chunk(2, 1)
    of_the_paper = -0.5 * (1 + spread - mean**2 - spread.exp()).sum(1)
    assert torch.allclose(GaussianKl()(NORMAL, torch.zeros_like(NORMAL)), of_the_paper)


def test_free_bits_of_a_latent() -> None:
    prediction = torch.tensor([[2.0, 0.1, 0.0, 0.0]])  # two latents: KL = 2 and 0.005
    zeros = torch.zeros_like(prediction)
    assert GaussianKl()(prediction, zeros).item() == pytest.approx(2.005)
    assert GaussianKl(0.5)(prediction, zeros).item() == pytest.approx(2.5)


def test_js_by_definition_and_its_bounds() -> None:
    q = LOGITS.softmax(1)
    m = (TRUE + q) / 2
    by_definition = 0.5 * (TRUE * (TRUE / m).log() + q * (q / m).log()).sum(1)
    assert torch.allclose(Js()(LOGITS, TRUE), by_definition)
    assert torch.allclose(Js()(TRUE.log(), q), by_definition)
    assert torch.allclose(Js()(TRUE.log(), TRUE), torch.zeros(16).double(), atol=1e-12)
    assert torch.allclose(Js()(200 * ONE_HOT, ONE_HOT.roll(1, 0)), torch.full((5,), math.log(2)).double())


def test_distillation_by_definition() -> None:
    theirs = functional.kl_div((LOGITS / 3).log_softmax(1), (TEACHER / 3).softmax(1), reduction="none").sum(1) * 9
    assert torch.allclose(Distillation(3.0)(LOGITS, TEACHER), theirs)
    assert torch.allclose(Distillation(1.0)(LOGITS, TRUE.log()), Kl()(LOGITS, TRUE))


def test_distillation_of_a_hot_teacher_is_half_the_squared_difference_of_logits_over_their_number() -> None:
    ours, centred = Distillation(1e4)(LOGITS, TEACHER), (LOGITS - TEACHER) - (LOGITS - TEACHER).mean(1, keepdim=True)
    assert torch.allclose(ours, centred.square().sum(1) / (2 * 5), rtol=1e-3)


@pytest.mark.parametrize("loss", [Distillation(), Consistency(), Consistency("kl"), Consistency("pseudo_label", 0.0)])
def test_a_teacher_gets_no_gradient(loss) -> None:
    pupil, teacher = LOGITS.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss(pupil, teacher).sum().backward()
    assert pupil.grad is not None
    assert pupil.grad.any()
    assert teacher.grad is None


def test_entropy_of_a_uniform_and_of_a_certain_answer() -> None:
    assert Entropy()(torch.zeros(2, 7), torch.zeros(2)).tolist() == pytest.approx([math.log(7)] * 2)
    assert Entropy()(200 * ONE_HOT, TRUE[:5]).tolist() == pytest.approx([0.0] * 5)
    assert torch.allclose(Entropy()(LOGITS, LOGITS), torch.distributions.Categorical(logits=LOGITS).entropy())


def test_consistency_by_definition() -> None:
    p, q = LOGITS.softmax(1), TEACHER.softmax(1)
    assert torch.allclose(Consistency()(LOGITS, TEACHER), (p - q).square().mean(1))
    assert torch.allclose(Consistency("kl")(LOGITS, TEACHER), (q * (q / p).log()).sum(1))
    sure, label = q.max(1)
    expected = torch.where(sure >= 0.7, functional.cross_entropy(LOGITS, label, reduction="none"), 0.0)
    assert 0 < (expected > 0).sum() < 16
    assert torch.allclose(Consistency("pseudo_label", 0.7)(LOGITS, TEACHER), expected)


def test_a_teacher_that_is_never_sure_teaches_nothing_and_gives_no_nan() -> None:
    pupil = LOGITS.clone().requires_grad_()
    values = Consistency("pseudo_label", 1.0)(pupil, torch.zeros_like(pupil))
    assert values.tolist() == [0.0] * 16
    assert not torch.autograd.grad(values.sum(), pupil)[0].any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Kl(-1.0), "`free_bits` must be at least 0, but free_bits=-1"),
        (lambda: GaussianKl(-2.0), "`free_bits` must be at least 0, but free_bits=-2"),
        (lambda: Distillation(0.0), "`temperature` must be above 0"),
        (lambda: Consistency(threshold=1.5), r"`threshold` must lie in \[0, 1\]"),
        (lambda: GaussianKl()(torch.zeros(2, 3), torch.zeros(2, 3)), "means and log-variances"),
        (lambda: Entropy()(torch.zeros(2, 1), torch.zeros(2)), "at least two classes"),
    ],
)
def test_what_does_not_fit_is_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(
        UnknownNameError, match="No form of consistency is called 'pseudo'. Did you mean 'pseudo_label'"
    ):
        Consistency("pseudo")

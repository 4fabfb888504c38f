"""Classification losses against torch's, their textbook forms and values worked out by hand."""

import math

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError
from autoloss.losses.binary_cross_entropy import BinaryCrossEntropy
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.focal import Focal
from autoloss.losses.hinge import Hinge
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    LOGITS, CLASSES = samples.classes(16, 5)
    PIXELS, MAP = samples.classes(4, 3, 6, 6)
    SCORES, LABELS = samples.binary(16, 3)


def logit(probability: float) -> torch.Tensor:
    return torch.tensor([math.log(probability / (1 - probability))], dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_agrees_with_torch(smoothing: float) -> None:
    loss = CrossEntropy(smoothing)
    theirs = functional.cross_entropy(LOGITS, CLASSES, reduction="none", label_smoothing=smoothing)
    assert torch.equal(loss(LOGITS, CLASSES), theirs)
    per_pixel = functional.cross_entropy(PIXELS, MAP, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(loss(PIXELS, MAP), per_pixel.mean((1, 2)))


def test_cross_entropy_by_definition() -> None:
    logarithms = LOGITS.log_softmax(1)
    right = -logarithms.gather(1, CLASSES[:, None])[:, 0]
    assert torch.allclose(CrossEntropy()(LOGITS, CLASSES), right)
    assert torch.allclose(CrossEntropy(0.2)(LOGITS, CLASSES), 0.8 * right - 0.2 / 5 * logarithms.sum(1))
    assert torch.allclose(CrossEntropy()(LOGITS, functional.one_hot(CLASSES, 5).float()), right)
    assert CrossEntropy()(torch.zeros(1, 7), torch.tensor([3])).item() == pytest.approx(math.log(7))


def test_binary_cross_entropy_agrees_with_torch_and_its_stable_form() -> None:
    y = LABELS.float()
    theirs = functional.binary_cross_entropy_with_logits(SCORES, y, reduction="none").mean(1)
    stable = (SCORES.clamp(min=0) - SCORES * y + (-SCORES.abs()).exp().log1p()).mean(1)
    assert torch.allclose(BinaryCrossEntropy()(SCORES, LABELS), theirs)
    assert torch.allclose(BinaryCrossEntropy()(SCORES, LABELS), stable)


def test_positive_weight_multiplies_the_positive_term() -> None:
    plain, weighted = BinaryCrossEntropy(), BinaryCrossEntropy(3.0)
    yes, no = torch.ones(16), torch.zeros(16)
    assert torch.allclose(weighted(SCORES[:, 0], yes), 3 * plain(SCORES[:, 0], yes))
    assert torch.allclose(weighted(SCORES[:, 0], no), plain(SCORES[:, 0], no))


@pytest.mark.parametrize(
    ("probability", "label", "gamma", "alpha", "expected"),
    [
        (0.3, 1, 2.0, 0.25, 0.25 * 0.7**2 * -math.log(0.3)),
        (0.7, 0, 2.0, 0.25, 0.75 * 0.7**2 * -math.log(0.3)),
        (0.3, 1, 2.0, -1.0, 0.7**2 * -math.log(0.3)),
        (0.9, 1, 0.5, 0.6, 0.6 * 0.1**0.5 * -math.log(0.9)),
    ],
)
def test_focal_by_hand(probability: float, label: int, gamma: float, alpha: float, expected: float) -> None:
    assert Focal(gamma, alpha)(logit(probability), torch.tensor([label])).item() == pytest.approx(expected)


def test_focal_of_the_textbook_example() -> None:
    assert Focal(2.0, 0.25)(logit(0.3), torch.tensor([1])).item() == pytest.approx(0.147487, abs=1e-6)


def test_focal_softmax_by_definition() -> None:
    right = LOGITS.softmax(1).gather(1, CLASSES[:, None])[:, 0]
    assert torch.allclose(Focal(2.0)(LOGITS, CLASSES), -((1 - right) ** 2) * right.log(), atol=1e-6)
    p = PIXELS.softmax(1).gather(1, MAP[:, None])[:, 0]
    assert torch.allclose(Focal(3.0)(PIXELS, MAP), (-((1 - p) ** 3) * p.log()).mean((1, 2)), atol=1e-6)


def test_focal_is_one_softmax_and_not_one_sigmoid_for_each_class() -> None:
    """segmentation_models.pytorch's "multiclass" mode sums over classes; adding a constant to the logits changes it."""
    assert torch.allclose(Focal()(LOGITS, CLASSES), Focal()(LOGITS + 3.0, CLASSES), atol=1e-5)
    two = torch.stack([torch.zeros(16), SCORES[:, 0]], dim=1)
    assert torch.allclose(Focal()(two, LABELS[:, 0]), Focal()(SCORES[:, 0], LABELS[:, 0]), atol=1e-6)


def test_focal_without_gamma_is_cross_entropy() -> None:
    assert torch.allclose(Focal(0.0)(LOGITS, CLASSES), CrossEntropy()(LOGITS, CLASSES))
    assert torch.allclose(Focal(0.0)(SCORES, LABELS), BinaryCrossEntropy()(SCORES, LABELS))
    assert torch.allclose(Focal(0.0, 0.5)(SCORES, LABELS), BinaryCrossEntropy()(SCORES, LABELS) / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_of_a_certain_answer_has_a_finite_slope(gamma: float) -> None:
    score = torch.tensor([-200.0, 200.0], requires_grad=True)
    values = Focal(gamma)(score, torch.tensor([0, 1]))
    (slope,) = torch.autograd.grad(values.sum(), score)
    assert values.tolist() == [0.0, 0.0]
    assert slope.tolist() == [0.0, 0.0]


def test_hinge_by_hand() -> None:
    score = torch.tensor([0.25, 2.0, -0.5, -3.0])
    assert Hinge()(score, torch.ones(4)).tolist() == [0.75, 0.0, 1.5, 4.0]
    assert Hinge()(score, -torch.ones(4)).tolist() == [1.25, 3.0, 0.5, 0.0]
    assert Hinge(2.0)(score, torch.ones(4)).tolist() == [1.75, 0.0, 2.5, 5.0]


def test_hinge_takes_labels_of_0_and_1_or_of_signs_and_a_column_of_scores() -> None:
    expected = Hinge()(SCORES[:, 0], 2 * LABELS[:, 0] - 1)
    assert torch.equal(Hinge()(SCORES[:, 0], LABELS[:, 0]), expected)
    assert torch.equal(Hinge()(SCORES[:, :1], LABELS[:, 0]), expected)


def test_hinge_of_several_classes_by_definition() -> None:
    expected = [
        max(0.0, 1.5 + max(s for j, s in enumerate(scores) if j != right) - scores[right])
        for scores, right in zip(LOGITS.tolist(), CLASSES.tolist(), strict=True)
    ]
    assert Hinge(1.5)(LOGITS, CLASSES).tolist() == pytest.approx(expected, abs=1e-5)


def test_hinge_of_two_classes_is_twice_the_multi_margin_loss_of_torch() -> None:
    """torch averages over the classes; with more than two of them it is another loss."""
    theirs = functional.multi_margin_loss(LOGITS[:, :2], CLASSES % 2, reduction="none")
    assert torch.allclose(Hinge()(LOGITS[:, :2], CLASSES % 2), 2 * theirs)


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal()])
def test_a_softmax_over_one_class_is_an_error_and_not_always_0(loss) -> None:
    with pytest.raises(ConfigError, match=r"at least two classes, but the prediction is \[4, 1\]"):
        loss(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), Focal()])
def test_labels_of_another_shape_are_an_error(loss) -> None:
    with pytest.raises(ConfigError, match=r"the same shape, but the prediction is \[4, 3\] and the target is \[4, 1\]"):
        loss(torch.zeros(4, 3), torch.zeros(4, 1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: CrossEntropy(1.5), r"`label_smoothing` must lie in \[0, 1\]"),
        (lambda: BinaryCrossEntropy(0.0), "`positive_weight` must be above 0"),
        (lambda: Focal(gamma=-1.0), "`gamma` must be at least 0"),
        (lambda: Focal(alpha=1.5), r"`alpha` must lie in \[0, 1\] or be -1 for none, but alpha=1.5"),
        (lambda: Focal(alpha=-0.5), r"`alpha` must lie in \[0, 1\] or be -1 for none, but alpha=-0.5"),
        (lambda: Hinge(0.0), "`margin` must be above 0"),
    ],
)
def test_wrong_parameters_are_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()

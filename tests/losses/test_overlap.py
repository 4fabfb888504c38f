"""Tversky, Jaccard and Lovász losses by their relations, and against sets counted one by one."""

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.losses.dice import Dice
from autoloss.losses.focal_tversky import FocalTversky
from autoloss.losses.jaccard import Jaccard
from autoloss.losses.lovasz import Lovasz
from autoloss.losses.tversky import Tversky
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    PIXELS, MAP = samples.classes(4, 3, 6, 6)
    SCORES, MASK = samples.binary(4, 8, 8)
DATA = pytest.mark.parametrize(("prediction", "target"), [(PIXELS, MAP), (SCORES, MASK)], ids=["softmax", "sigmoid"])
CERTAIN = 50.0


@DATA
def test_tversky_is_dice_and_jaccard_for_its_own_weights(prediction, target) -> None:
    for smooth in (0.0, 1.0):
        dice, jaccard = Dice(2 * smooth), Jaccard(smooth)
        assert torch.allclose(Tversky(0.5, 0.5, smooth)(prediction, target), dice(prediction, target), atol=1e-6)
        assert torch.allclose(Tversky(1.0, 1.0, smooth)(prediction, target), jaccard(prediction, target), atol=1e-6)


@DATA
def test_focal_tversky_is_tversky_for_gamma_1(prediction, target) -> None:
    assert torch.allclose(FocalTversky(1.0)(prediction, target), Tversky()(prediction, target))


def test_focal_tversky_takes_the_power_of_each_class() -> None:
    one = Tversky(0.3, 0.7)(SCORES, MASK)
    assert torch.allclose(FocalTversky(2.0)(SCORES, MASK), one**2)
    assert not torch.allclose(FocalTversky(2.0)(PIXELS, MAP), Tversky()(PIXELS, MAP) ** 2, atol=1e-5)


def test_tversky_by_counting() -> None:
    answer, truth = torch.tensor([[1, 1, 1, 0, 0, 0]]), torch.tensor([[0, 1, 1, 1, 1, 0]])
    score = CERTAIN * (2.0 * answer - 1)  # TP 2, FP 1, FN 2
    assert Tversky(0.2, 0.8, 0.0)(score, truth).item() == pytest.approx(1 - 2 / (2 + 0.2 + 1.6))
    assert Jaccard(0.0)(score, truth).item() == pytest.approx(1 - 2 / 5)


def test_beta_above_alpha_costs_more_for_a_miss() -> None:
    truth = torch.tensor([[1, 1, 0, 0]])
    missed, false = torch.tensor([[9.0, -9, -9, -9]]), torch.tensor([[9.0, 9, 9, -9]])
    loss = Tversky(0.1, 0.9)
    assert loss(missed, truth).item() > loss(false, truth).item()


def lovasz_of(errors: list[float], truth: list[int]) -> float:
    """``<m, grad J>`` with the sets of the definition."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    total, before, value = sum(truth), 0.0, 0.0
    for k in range(1, len(order) + 1):
        wrong = order[:k]
        missed = total - sum(truth[i] for i in wrong)
        index = 1 - missed / (total + sum(1 - truth[i] for i in wrong))
        value += errors[order[k - 1]] * (index - before)
        before = index
    return value


def test_lovasz_softmax_by_definition() -> None:
    probability = PIXELS.softmax(1).flatten(2)
    for i in range(4):
        here = MAP[i].flatten().tolist()
        by_class = [
            lovasz_of(
                [abs((y == c) - p) for y, p in zip(here, probability[i, c].tolist(), strict=True)],
                [int(y == c) for y in here],
            )
            for c in set(here)
        ]
        assert Lovasz()(PIXELS, MAP)[i].item() == pytest.approx(sum(by_class) / len(by_class), abs=1e-5)


def test_lovasz_hinge_by_definition() -> None:
    for i in range(4):
        signs = 2 * MASK[i].flatten() - 1
        errors = (1 - SCORES[i].flatten() * signs).clamp(min=0).tolist()
        assert Lovasz()(SCORES, MASK)[i].item() == pytest.approx(
            lovasz_of(errors, MASK[i].flatten().tolist()), abs=1e-4
        )


def test_lovasz_of_hard_answers_is_one_minus_the_mean_iou_of_the_classes_that_are_there() -> None:
    truth = torch.tensor([[0, 0, 1, 1, 1]])
    answer = torch.tensor([[0, 1, 1, 1, 0]])  # class 0: 1 of 3, class 1: 2 of 4; class 2 is absent
    logits = CERTAIN * torch.nn.functional.one_hot(answer, 3).movedim(-1, 1).float()
    assert Lovasz()(logits, truth).item() == pytest.approx(1 - (1 / 3 + 2 / 4) / 2)


def test_lovasz_of_an_empty_mask_is_finite() -> None:
    score = torch.randn(2, 5, requires_grad=True)
    values = Lovasz()(score, torch.zeros(2, 5))
    assert torch.autograd.grad(values.sum(), score)[0].isfinite().all()


@pytest.mark.parametrize("loss", [Dice, Tversky, FocalTversky, Jaccard, Lovasz])
def test_ignored_pixels_do_not_count(loss) -> None:
    spoilt, target = PIXELS.clone(), MAP.clone()
    target[:, :2] = 255
    spoilt[:, :, :2] = 7.0
    values = loss(ignore_index=255)(spoilt, target)
    expected = loss()(PIXELS[:, :, 2:], MAP[:, 2:])
    assert torch.allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("loss", [Dice, Tversky, FocalTversky, Jaccard])
def test_class_weights_are_shares_of_the_mean(loss) -> None:
    by_class = torch.stack([loss(class_weights=[float(i == c) for i in range(3)])(PIXELS, MAP) for c in range(3)], 1)
    assert torch.allclose(by_class.mean(1), loss()(PIXELS, MAP))
    weights = torch.tensor([0.0, 3.0, 1.0])
    expected = (by_class * weights).sum(1) / 4
    assert torch.allclose(loss(class_weights=weights.tolist())(PIXELS, MAP), expected)
    with pytest.raises(ConfigError, match="a weight for each class, but there are 2 for 3 classes"):
        loss(class_weights=[1, 2])(PIXELS, MAP)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Tversky(alpha=-0.1), "`alpha` and `beta` must be at least 0"),
        (lambda: Tversky(0.0, 0.0), "and at least one above 0, but alpha=0.0, beta=0.0"),
        (lambda: FocalTversky(gamma=0.0), "`gamma` must be above 0"),
        (lambda: Jaccard(-1.0), "`smooth` must be at least 0"),
    ],
)
def test_wrong_parameters_are_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()

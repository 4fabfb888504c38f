"""The soft Dice loss by hand and by its relation to the overlap of sets."""

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError
from autoloss.losses.dice import Dice
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    PIXELS, MAP = samples.classes(4, 3, 6, 6)
    LOGITS, CLASSES = samples.classes(4, 3)
    _, MASK = samples.binary(4, 8, 8)
CERTAIN = 50.0  # a logit whose sigmoid is 0 or 1


def test_by_hand() -> None:
    undecided = torch.zeros(1, 4)  # p = 1/2 at each of four pixels, one of them true
    truth = torch.tensor([[1, 0, 0, 0]])
    assert Dice()(undecided, truth).item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))
    assert Dice(0.0)(undecided, truth).item() == pytest.approx(1 - 1 / 3)


def test_of_hard_answers_is_one_minus_the_dice_coefficient() -> None:
    answer, truth = torch.tensor([[1, 1, 1, 0, 0]]), torch.tensor([[0, 1, 1, 1, 0]])
    value = Dice(0.0)(CERTAIN * (2.0 * answer - 1), truth).item()
    assert value == pytest.approx(1 - 2 * 2 / (3 + 3))
    overlap = 2 / 4
    assert value == pytest.approx(1 - 2 * overlap / (1 + overlap))


def test_of_several_classes_is_the_mean_over_the_classes() -> None:
    probability, one_hot = PIXELS.softmax(1), functional.one_hot(MAP, 3).movedim(-1, 1)
    by_class = [
        1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)
        for sample in range(4)
        for p, g in zip(probability[sample], one_hot[sample], strict=True)
    ]
    assert torch.allclose(Dice()(PIXELS, MAP), torch.stack(by_class).view(4, 3).mean(1))


def test_classes_without_pixels() -> None:
    right = LOGITS.softmax(1)
    one_hot = functional.one_hot(CLASSES, 3)
    assert torch.allclose(Dice()(LOGITS, CLASSES), (1 - (2 * right * one_hot + 1) / (right + one_hot + 1)).mean(1))


def test_a_right_answer_costs_nothing_and_a_wrong_one_everything() -> None:
    sure = CERTAIN * (2.0 * MASK - 1)
    assert Dice()(sure, MASK).tolist() == pytest.approx([0.0] * 4, abs=1e-6)
    assert Dice(0.0)(-sure, MASK).tolist() == pytest.approx([1.0] * 4, abs=1e-6)


def test_an_empty_sample_costs_nothing_where_nothing_is_found() -> None:
    nothing = torch.zeros(1, 16)
    assert Dice()(nothing - CERTAIN, nothing).item() == pytest.approx(0.0, abs=1e-6)
    assert Dice()(nothing + CERTAIN, nothing).item() == pytest.approx(1 - 1 / 17)


def test_an_empty_sample_without_smoothing_is_finite() -> None:
    logits = torch.full((1, 16), -200.0, requires_grad=True)
    value = Dice(0.0)(logits, torch.zeros(1, 16))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_errors() -> None:
    with pytest.raises(ConfigError, match="`smooth` must be at least 0, but smooth=-1"):
        Dice(-1.0)
    with pytest.raises(ConfigError, match="at least two classes"):
        Dice()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64))
    with pytest.raises(ConfigError, match="the same shape"):
        Dice()(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))

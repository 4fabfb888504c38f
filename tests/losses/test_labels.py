"""Labels out of range, weights of classes and labels to ignore, in every loss that takes them."""

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError, LabelError
from autoloss.core.registry.lookup import registry
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.losses.binary_cross_entropy import BinaryCrossEntropy
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.focal import Focal
from autoloss.losses.hinge import Hinge
from autoloss.losses.log_loss import LogLoss
from autoloss.losses.squared_hinge import SquaredHinge
from autoloss.testing import samples
from autoloss.testing.samples import SAMPLES

with torch.random.fork_rng():
    torch.manual_seed(0)
    LOGITS, CLASSES = samples.classes(16, 5)
    PIXELS, MAP = samples.classes(4, 3, 6, 6)
    SCORES, LABELS = samples.binary(16, 3)


def taking(kind: str) -> list[str]:
    return [name for name in registry.names("loss") if kind in getattr(registry.load("loss", name), "takes", ())]


@pytest.mark.parametrize("kind", ["classes", "pixels", "class_chances"])
@pytest.mark.parametrize("label", [-1, -100, 7])
def test_a_class_that_there_is_not_is_named(kind: str, label: int) -> None:
    for name in taking(kind):
        prediction, target = SAMPLES[kind][0](4)
        target.flatten()[2] = label
        with pytest.raises(LabelError, match=rf"Class labels must be whole and lie in \[0, \d\], but one is {label}"):
            registry.build("loss", name)(prediction, target)


@pytest.mark.parametrize("kind", ["binary", "chances"])
def test_a_binary_target_that_is_neither_is_named(kind: str) -> None:
    for name in taking(kind):
        prediction, target = SAMPLES[kind][0](4)
        target.flatten()[1] = 2
        with pytest.raises(LabelError, match=r"must (lie in \[0, 1\]|be 1 and 0, or 1 and -1), but one is 2"):
            registry.build("loss", name)(prediction, target)


@pytest.mark.parametrize("name", taking("mixtures"))
def test_probabilities_that_are_none_are_named(name: str) -> None:
    prediction, target = SAMPLES["mixtures"][0](4)
    target[1, 1] = -0.5
    with pytest.raises(LabelError, match=r"Probabilities of classes must lie in \[0, 1\], but one is -0.5"):
        registry.build("loss", name)(prediction, target)


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(LabelError, match=r"log_loss takes probabilities \(binary_cross_entropy takes logits\)"):
        LogLoss()(LOGITS, CLASSES)


def test_a_label_between_classes_is_named() -> None:
    with pytest.raises(LabelError, match="must be whole and lie in .*, but one is 1.5"):
        CrossEntropy()(LOGITS[:2], torch.tensor([1.0, 1.5]))
    assert torch.equal(CrossEntropy()(LOGITS, CLASSES.float()), CrossEntropy()(LOGITS, CLASSES))


@pytest.mark.parametrize("kind", ["classes", "pixels"])
def test_elsewhere_than_on_a_cpu_the_error_waits_and_the_value_is_finite(kind: str, monkeypatch) -> None:
    monkeypatch.setattr(DeferredChecks, "at_hand", lambda self, tensor: False)
    for name in taking(kind):
        prediction, target = SAMPLES[kind][0](4)
        target.flatten()[2] = 99
        loss = registry.build("loss", name)
        assert loss(prediction, target).isfinite().all()
        with pytest.raises(LabelError, match="but one is 99"):
            loss.notices.check()


def test_class_weights_multiply_each_sample() -> None:
    weights = (1.0, 0.5, 2.0, 0.0, 3.0)
    factor = torch.tensor(weights)[CLASSES]
    for plain, weighted in (
        (CrossEntropy(), CrossEntropy(class_weights=weights)),
        (Focal(), Focal(class_weights=weights)),
    ):
        assert torch.allclose(weighted(LOGITS, CLASSES), factor * plain(LOGITS, CLASSES))
    chances = LOGITS.softmax(1)
    assert torch.allclose(LogLoss(class_weights=weights)(chances, CLASSES), factor * LogLoss()(chances, CLASSES))


def test_weighted_cross_entropy_agrees_with_torch_after_its_own_division() -> None:
    weights = torch.tensor([1.0, 0.5, 2.0, 0.1, 3.0])
    ours = CrossEntropy(0.1, tuple(weights.tolist()))(LOGITS, CLASSES)
    theirs = functional.cross_entropy(LOGITS, CLASSES, weights, label_smoothing=0.1)
    assert torch.allclose(ours.sum() / weights[CLASSES].sum(), theirs)
    assert torch.allclose(
        ours, functional.cross_entropy(LOGITS, CLASSES, weights, reduction="none", label_smoothing=0.1)
    )


def test_ignored_pixels_leave_the_mean_of_the_rest() -> None:
    target = MAP.clone()
    target[:, ::2] = 255
    for loss in (CrossEntropy, Focal):
        expected = loss()(PIXELS[:, :, 1::2], MAP[:, 1::2])
        assert torch.allclose(loss(ignore_index=255)(PIXELS, target), expected)
        assert loss(ignore_index=255)(PIXELS, torch.full_like(MAP, 255)).tolist() == [0.0] * 4


def test_a_positive_weight_for_each_label() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0])
    theirs = functional.binary_cross_entropy_with_logits(SCORES, LABELS.float(), pos_weight=weights, reduction="none")
    assert torch.allclose(BinaryCrossEntropy([1.0, 2.0, 5.0])(SCORES, LABELS), theirs.mean(1))
    with pytest.raises(ConfigError, match=r"a number for each label, but there are 2 for a prediction of \[16, 3\]"):
        BinaryCrossEntropy([1.0, 2.0])(SCORES, LABELS)


def test_log_loss_is_cross_entropy_of_the_logits() -> None:
    assert torch.allclose(LogLoss()(LOGITS.softmax(1), CLASSES), CrossEntropy()(LOGITS, CLASSES), atol=1e-6)
    assert torch.allclose(LogLoss()(SCORES.sigmoid(), LABELS), BinaryCrossEntropy()(SCORES, LABELS), atol=1e-6)
    theirs = functional.binary_cross_entropy(SCORES.sigmoid(), LABELS.float(), reduction="none").mean(1)
    assert torch.allclose(LogLoss()(SCORES.sigmoid(), LABELS), theirs, atol=1e-6)


def test_log_loss_of_a_certain_mistake_is_finite_and_not_dead() -> None:
    chance = torch.tensor([0.0, 1.0], requires_grad=True)
    values = LogLoss(1e-3)(chance, torch.tensor([1, 0]))
    (slope,) = torch.autograd.grad(values.sum(), chance)
    assert values.tolist() == pytest.approx([6.907755, 6.907755])
    assert slope.tolist() == pytest.approx([-1000.0, 1000.0])


@pytest.mark.parametrize(("prediction", "target"), [(SCORES, LABELS), (LOGITS, CLASSES)])
def test_squared_hinge_is_the_square(prediction, target) -> None:
    if prediction.dim() == target.dim():
        expected = torch.stack([Hinge(1.3)(prediction[:, i], target[:, i]) ** 2 for i in range(3)]).mean(0)
    else:
        expected = Hinge(1.3)(prediction, target) ** 2
    assert torch.allclose(SquaredHinge(1.3)(prediction, target), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: CrossEntropy(class_weights=[1.0, -1.0]), "`class_weights` must be at least 0"),
        (lambda: Focal(class_weights=[0.0, 0.0]), "and at least one above 0, but class_weights="),
        (lambda: CrossEntropy(class_weights=[1.0])(LOGITS, CLASSES), "a weight for each class, but there are 1 for 5"),
        (lambda: BinaryCrossEntropy([1.0, 0.0]), "`positive_weight` must be above 0"),
        (lambda: LogLoss(0.5), r"`eps` must lie in \(0, 0.5\)"),
        (lambda: SquaredHinge(0.0), "`margin` must be above 0"),
        (lambda: CrossEntropy()(LOGITS, MAP), r"class labels \[B, ...\], but the prediction is \[16, 5\]"),
        (lambda: Hinge()(torch.zeros(3), torch.zeros(2)), r"must have a target, but the prediction is \[3\]"),
    ],
)
def test_what_does_not_fit_is_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()


@pytest.mark.gpu
def test_a_wrong_label_does_not_end_the_devices_work() -> None:
    for name in taking("classes"):
        loss = registry.build("loss", name)
        prediction, target = LOGITS.cuda(), CLASSES.clone().cuda()
        target[3] = 99
        loss(prediction, target)  # what a step allocates once
        torch.cuda.set_sync_debug_mode("error")
        try:
            values = loss(prediction, target)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert values.isfinite().all()
        with pytest.raises(LabelError, match="but one is 99"):
            loss.notices.check()

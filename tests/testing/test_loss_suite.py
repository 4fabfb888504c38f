"""The suite against losses that are broken on purpose: each must fail one check, and that one only."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from autoloss.core.loss import Loss
from autoloss.testing import LossSuite, samples

CHECKS = sorted(name for name, _ in inspect.getmembers(LossSuite, inspect.isfunction) if name.startswith("test_"))


def failing(loss: Any, **settings: Any) -> set[str]:
    suite = type("Suite", (LossSuite,), {"loss": staticmethod(lambda: loss), **settings})()
    failed = set()
    for check in CHECKS:
        try:
            getattr(suite, check)()
        except Exception:
            failed.add(check)
    return failed


def good(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().flatten(1).mean(1)


def good_log_loss(prediction: Tensor, target: Tensor) -> Tensor:
    return -torch.nn.functional.logsigmoid(prediction * (2 * target - 1)).flatten(1).mean(1)


def keeps_a_dimension(prediction: Tensor, target: Tensor) -> Tensor:
    return good(prediction, target)[:, None]


def squeezes(prediction: Tensor, target: Tensor) -> Tensor:
    return good(prediction, target).squeeze()


def divides_by_batch(prediction: Tensor, target: Tensor) -> Tensor:
    return good(prediction, target) / (1 + target.abs().mean())


class _Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / 2


def has_wrong_gradient(prediction: Tensor, target: Tensor) -> Tensor:
    return good(_Halved.apply(prediction), target)


def takes_log_of_sigmoid(prediction: Tensor, target: Tensor) -> Tensor:
    return -(prediction * (2 * target - 1)).sigmoid().log().flatten(1).mean(1)


def cancels_in_bfloat16(prediction: Tensor, target: Tensor) -> Tensor:
    scale = torch.ones_like(prediction)
    return good(prediction, target) / ((scale + 1e-4) - scale).flatten(1).mean(1)


def is_float32(prediction: Tensor, target: Tensor) -> Tensor:
    values = good(prediction, target)
    # With a graph the check of gradients, which needs float64, would fail as well.
    return values if values.requires_grad else values.float()


class _Good(Loss):
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return good(prediction, target)


class TakesNothingKnown(_Good):
    takes = ("nmbers",)


class CleansTheValuesOnly(_Good):
    def masked(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        values = self(prediction, target)
        return values if mask is None else values.where(mask, 0.0)


class DependsOnTheOrder(_Good):
    paired = True

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return good(prediction, target) * torch.arange(len(target))


def looks_at_a_number(prediction: Tensor, target: Tensor) -> Tensor:
    return good(prediction, target) * (1.0 if target.sum().item() < 1e9 else 2.0)


def picks_by_a_mask(prediction: Tensor, target: Tensor) -> Tensor:
    values = good(prediction, target)
    return values.index_put((values < 0,), values.new_zeros(()))


class FollowsTheDefaultDtype(Loss):
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return good(prediction, target) * (1 if torch.get_default_dtype() is torch.float32 else 2)


BROKEN = {
    FollowsTheDefaultDtype(): ("test_half_precision_computes_in_float32", samples.regression),
    looks_at_a_number: ("test_waits_for_no_device", samples.regression),
    picks_by_a_mask: ("test_waits_for_no_device", samples.regression),
    TakesNothingKnown(): ("test_says_what_it_takes", samples.regression),
    CleansTheValuesOnly(): ("test_masked_samples_take_no_part", samples.regression),
    DependsOnTheOrder(): ("test_order_of_samples_does_not_matter", samples.regression),
    keeps_a_dimension: ("test_gives_one_value_for_each_sample", samples.regression),
    squeezes: ("test_takes_a_batch_of_one", samples.regression),
    divides_by_batch: ("test_samples_do_not_meet", samples.regression),
    has_wrong_gradient: ("test_gradient_is_that_of_the_value", samples.regression),
    takes_log_of_sigmoid: ("test_is_finite_for_large_predictions", samples.binary),
    cancels_in_bfloat16: ("test_is_finite_in_bfloat16", samples.regression),
    is_float32: ("test_float64_stays_float64", samples.regression),
}


def three(sample: Any) -> Any:
    return staticmethod(lambda batch: sample(batch, 3))


@pytest.mark.parametrize(("right", "sample"), [(good, samples.regression), (good_log_loss, samples.binary)])
def test_passes_what_is_right(right: Any, sample: Any) -> None:
    assert failing(right, sample=three(sample)) == set()


@pytest.mark.parametrize("broken", BROKEN)
def test_fails_exactly_what_is_broken(broken: Any) -> None:
    check, sample = BROKEN[broken]
    assert failing(broken, sample=three(sample)) == {check}


def test_fails_what_reduces() -> None:
    found = failing(lambda prediction, target: good(prediction, target).mean())
    assert found == {
        "test_gives_one_value_for_each_sample",
        "test_takes_a_batch_of_one",
        "test_samples_do_not_meet",
        "test_order_of_samples_does_not_matter",
        "test_masked_samples_take_no_part",
    }


def test_every_check_has_something_that_fails_it() -> None:
    assert {check for check, _ in BROKEN.values()} == set(CHECKS)


def test_samples_are_the_same_each_time_and_leave_the_seed_alone() -> None:
    suite = type("Suite", (LossSuite,), {"loss": _Good})()
    before = torch.get_rng_state()
    first, second = suite._draw(4), suite._draw(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize(
    ("sample", "prediction", "target"),
    [
        (samples.regression(2, 3), [2, 3], [2, 3]),
        (samples.classes(2, 5), [2, 5], [2]),
        (samples.classes(2, 5, 4, 4), [2, 5, 4, 4], [2, 4, 4]),
        (samples.binary(2), [2], [2]),
    ],
)
def test_samples_have_the_shapes_that_they_say(sample: Any, prediction: list[int], target: list[int]) -> None:
    assert [list(part.shape) for part in sample] == [prediction, target]


def test_a_suite_without_a_loss_says_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match=r"Override loss\(\)"):
        LossSuite().test_takes_a_batch_of_one()

"""The mistakes of the page on losses, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from autoloss import Loss
from autoloss.core.loss import per_sample
from autoloss.core.schedules.progressive import build
from tests.plugins.mistakes.making import suite


class Renamed(Loss):
    """Keeps a parameter under another name."""

    def __init__(self, eps: float = 0.1) -> None:
        super().__init__()
        self.epsilon = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample((prediction - target).abs() + self.epsilon)


def plain(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample((prediction - target).abs())


def reduces(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().mean()


def compares_with_the_others(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample((prediction - prediction.mean(0) - target).square())


class MasksAfterwards(Loss):
    """Puts 0 where the loss has been computed already."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample((prediction - target).square())

    def masked(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        values = self(prediction, target)
        return values if mask is None else values.where(mask, 0.0)


def takes_logarithms(prediction: Tensor, target: Tensor) -> Tensor:
    return per_sample(-(1 - prediction.sigmoid()).log() + 0 * target)


def looks(prediction: Tensor, target: Tensor) -> Tensor:
    return plain(prediction, target) * (2 if target.max() > 1 else 1)


def takes_three(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return prediction


MISTAKES: list[Callable[[], object]] = [
    suite("loss", "gives_one_value_for_each_sample", lambda: reduces),
    suite("loss", "samples_do_not_meet", lambda: compares_with_the_others),
    suite("loss", "masked_samples_take_no_part", MasksAfterwards),
    suite("loss", "is_finite_for_large_predictions", lambda: takes_logarithms),
    suite("loss", "waits_for_no_device", lambda: looks),
    lambda: build("loss", {"name": "mistakes:Renamed", "eps": "linear(0,1)"}),
    lambda: build("loss", {"name": "my_charbonnier", "epz": 0.1}),
    lambda: build("loss", {"name": "mistakes:plain", "eps": 0.1}),
    lambda: build("loss", "mistakes:takes_three"),
]

"""The mistakes of the page on sample weightings, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autoloss import Balancer, SampleNeed, SampleWeighting
from autoloss.testing.batches import batches
from tests.plugins.mistakes.making import suite


class Same(SampleWeighting):
    """Weights of ones."""

    def forward(self, samples: Any) -> Tensor:
        return torch.ones_like(samples.losses)


class Labelling(Same):
    """Reads what it does not ask for."""

    def forward(self, samples: Any) -> Tensor:
        return samples.labels.float()


class Remembering(Same):
    """Keeps a number for each sample."""

    needs = SampleNeed.LOSSES | SampleNeed.INDEX


class Classes(Same):
    """Wants classes."""

    needs = SampleNeed.LOSSES | SampleNeed.LABELS


class Keyed(Same):
    """Wants a key that is misspelt."""

    def forward(self, samples: Any) -> Tensor:
        return samples.key("wieght")


class OfAllSamples(Same):
    """Takes the mean over masked samples, too."""

    def forward(self, samples: Any) -> Tensor:
        return (samples.losses.mean() / samples.losses.clamp(min=1e-6)).clamp(0, 1)


class Negative(Same):
    """Gives weights below 0."""

    def forward(self, samples: Any) -> Tensor:
        return -torch.ones_like(samples.losses)


class Nothing(Same):
    """Gives no sample any weight."""

    def forward(self, samples: Any) -> Tensor:
        return torch.zeros_like(samples.losses)


def sampled(rule: SampleWeighting, losses: Any = None, index: Any = None, **more: Any) -> object:
    values = torch.ones(4, requires_grad=True)
    balancer = Balancer(["a"], "equal", sample_weighting=rule, **more)
    return balancer({"a": values} if losses is None else losses, index=index)


def of_one_term() -> object:
    return sampled({"name": "my_winsor", "terms": ["a"]}, {"a": torch.ones((), requires_grad=True)})  # type: ignore[arg-type]


MISTAKES: list[Callable[[], object]] = [
    lambda: sampled(Labelling()),
    lambda: sampled(Remembering()),
    lambda: sampled(Remembering(), samples=4),
    lambda: sampled(Remembering(), index=torch.arange(1, 5), samples=4),
    lambda: sampled(Classes()),
    of_one_term,
    lambda: Keyed().bind(40)(batches()[0]),
    suite("sample_weighting", "a_masked_sample_says_nothing", OfAllSamples),
    suite("sample_weighting", "gives_one_weight_for_each_sample", Negative),
    lambda: sampled(Nothing()),
]

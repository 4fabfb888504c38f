"""The mistakes of the page on wrappers, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from autoloss import Need, Weighting, Wrapper
from autoloss.core.registry.lookup import registry
from autoloss.training.step.build import build_weighting
from tests.plugins.mistakes.making import X, asked, balanced


class Bare(Wrapper):
    """Says what it needs where nobody looks."""

    needs = Need.GRAM

    def forward(self, signals: Any) -> Tensor:
        return signals.gram.diagonal() + self.inner(signals)


class Innerless(Wrapper):
    """Forgets the inner weighting."""

    def __init__(self, inner: Weighting) -> None:
        super().__init__()  # type: ignore[call-arg]

    def forward(self, signals: Any) -> Tensor:
        return self.inner(signals)


class Unlearning(Wrapper):
    """Does not pass on what is learned."""

    def forward(self, signals: Any) -> Tensor:
        return self.inner(signals)

    def update(self, signals: Any) -> None:
        pass


def never_learns() -> None:
    inner = registry.build("weighting", "my_unit_norm")
    features = X.clone().requires_grad_()
    balanced(Unlearning(inner), {"a": features.square().mean(1), "b": features.abs().mean(1)}, anchor=features)
    assert inner.norm.isnan().all()


def sharpened_surgery() -> object:
    sharpen = registry.load("wrapper", "my_sharpen")
    return balanced(sharpen(build_weighting("graddrop")))


MISTAKES: list[Callable[[], object]] = [
    never_learns,
    lambda: balanced(Bare(build_weighting("equal"))),
    lambda: Innerless(build_weighting("equal")),
    sharpened_surgery,
    asked("problem=my_two_curves", "weighting=my_sharpen"),
    lambda: build_weighting({"name": "equal", "wrap": ["my_sharpn"]}),
    lambda: build_weighting({"name": "equal", "wrap": [{"my_sharpen": {"power": 2}}]}),
]

"""How a mistake is made: by a check of a suite, by a call, or by what the command line is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from autoloss import Balancer
from autoloss.app.composition import composed
from autoloss.app.hydra_app import split
from autoloss.app.prepare import prepare
from autoloss.testing import LossSuite, PenaltySuite, SampleWeightingSuite, WeightingSuite

SUITES = {"loss": LossSuite, "penalty": PenaltySuite, "weighting": WeightingSuite}
SUITES["sample_weighting"] = SampleWeightingSuite  # type: ignore[assignment]
X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def suite(kind: str, check_name: str, made: Callable[[], Any]) -> Callable[[], object]:
    """One check of the suite of ``kind``, of what ``made`` makes."""
    return lambda: getattr(type("Suite", (SUITES[kind],), {kind: staticmethod(made)})(), f"test_{check_name}")()


def asked(*arguments: str) -> Callable[[], object]:
    """What ``autoloss train`` looks at before it trains."""

    def ask() -> None:
        flags, overrides = split(arguments)
        prepare(composed("train", overrides))

    return ask


def balanced(weighting: Any, losses: Mapping[str, Any] | None = None, anchor: Any = None, **more: Any) -> object:
    features = X.clone().requires_grad_()
    losses = losses or {"a": features.square().mean(1), "b": features.abs().mean(1)}
    return Balancer(list(losses), weighting, **more)(losses, anchor=anchor)

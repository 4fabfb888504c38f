"""Odd losses and gradients, thrown at every registered weighting: a clear error or finite weights."""

import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError
from autoloss.core.need import OUTCOME
from autoloss.core.registry import registry
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable
from autoloss.training.player import Player

NAMES = ("a", "b", "c")
REQUIRED: dict[str, dict[str, Any]] = {
    "gradient_cosine": {"main": "a"},
    "ol_aux": {"main": ["a"]},
    "vqgan": {"adversarial": "a"},
}
FINITE = (0.0, 1.0, -1.0, 0.3, 1e-40, 1e-20, 1e-8, 1e4, 1e10, 1e30, -1e30)
ODD = (*FINITE, math.inf, -math.inf, math.nan)
QUICK = settings(
    max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(QUICK, max_examples=300)

steps_of_values = st.lists(st.lists(st.sampled_from(ODD), min_size=3, max_size=3), min_size=1, max_size=4)
slopes = st.lists(
    st.lists(st.one_of(st.sampled_from(FINITE), st.floats(-1e3, 1e3, width=32)), min_size=3, max_size=3),
    min_size=3,
    max_size=3,
)


def made(kind, name, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return registry.build(kind, name, **REQUIRED.get(name, {}), **parameters)


def played(name, values, gradients, policy):
    """Train with odd ``values`` [T][3] of losses whose gradients are odd, and then with ordinary ones."""
    player = Player(NAMES, made("weighting", name), on_nonfinite=policy)
    rows = torch.tensor(gradients, dtype=torch.float32)
    ordinary = [[1.0, 0.5, 2.0], [0.9, 0.5, 1.5]]
    for step, one in enumerate([*values, *ordinary]):
        features = torch.zeros(2, 3, requires_grad=True)
        here = rows if step < len(values) else torch.eye(3)
        table = LossTable(
            {n: x + (features * here[i]).sum() for i, (n, x) in enumerate(zip(NAMES, one, strict=True))}, features
        )
        try:
            weighed = player.step(table, Clock(step, 0, step / 10))
        except AutolossError:
            return
        if weighed is None:
            continue
        assert weighed.weights.isfinite().all(), (step, weighed.weights)
        player.commit()


# What is measured after a step needs a real one.
WEIGHTINGS = [
    name
    for name in registry.names("weighting")
    for target in [registry.load("weighting", name)]
    if not issubclass(target, Surgery) and not target.needs & OUTCOME
]


@pytest.mark.parametrize("name", WEIGHTINGS)
class TestWeightings:
    @QUICK
    @given(values=steps_of_values, gradients=slopes, policy=st.sampled_from(["raise", "skip"]))
    def test_quick(self, name, values, gradients, policy):
        played(name, values, gradients, policy)

    @pytest.mark.slow
    @THOROUGH
    @given(values=steps_of_values, gradients=slopes, policy=st.sampled_from(["raise", "skip"]))
    def test_thorough(self, name, values, gradients, policy):
        played(name, values, gradients, policy)

"""Odd losses and gradients, thrown at every registered weighting: a clear error or finite weights."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError
from autoloss.core.need import OUTCOME
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable
from autoloss.training.step.build import build_weighting
from autoloss.training.step.player import Player
from tests.properties.odd import FINITE, ODD, QUICK, REQUIRED, THOROUGH

NAMES = ("a", "b", "c")
steps_of_values = st.lists(st.lists(st.sampled_from(ODD), min_size=3, max_size=3), min_size=1, max_size=4)
slopes = st.lists(
    st.lists(st.one_of(st.sampled_from(FINITE), st.floats(-1e3, 1e3, width=32)), min_size=3, max_size=3),
    min_size=3,
    max_size=3,
)


def played(name, values, gradients, policy, wrap=()):
    """Train with odd ``values`` [T][3] of losses whose gradients are odd, and then with ordinary ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighting = build_weighting({"name": name, **REQUIRED.get(name, {}), "wrap": list(wrap)})
    player = Player(NAMES, weighting, on_nonfinite=policy)
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


# Odd, but allowed.
SHARE = st.sampled_from((0.0, 1e-10, 0.5, 1.0 - 1e-7))
WRAPPERS = {
    "clamp": {"low": st.sampled_from((0.0, 1e-10, 1.0)), "high": st.sampled_from((1.0, 1e10, float("inf")))},
    "ema": {"decay": SHARE},
    "every_n": {"n": st.sampled_from((1, 2, 10**9))},
    "normalise": {},
    "regularise": {
        "strength": SHARE | st.just(1.0),
        "prior": st.dictionaries(st.sampled_from(NAMES), st.sampled_from((0.0, 1e-10, 1e10)), max_size=3),
    },
    "warmup": {"steps": st.sampled_from((0, 1, 10**9))},
}
inner = st.sampled_from(["equal", "uncertainty", "gradnorm", "mgda", "nash_mtl", "tchebycheff"])
WRAPPED = {
    "name": inner,
    "values": steps_of_values,
    "gradients": slopes,
    "policy": st.sampled_from(["raise", "skip"]),
    "others": st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=2),
}


@pytest.mark.parametrize("wrapper", registry.names("wrapper"))
class TestWrappers:
    @settings(QUICK, max_examples=8)
    @given(data=st.data(), **WRAPPED)
    def test_quick(self, wrapper, data, others, **drawn):
        options = data.draw(st.fixed_dictionaries({}, optional=WRAPPERS.get(wrapper, {})))
        played(wrap=[*others, {wrapper: options}], **drawn)

    @pytest.mark.slow
    @settings(THOROUGH, max_examples=300)
    @given(data=st.data(), **WRAPPED)
    def test_thorough(self, wrapper, data, others, **drawn):
        options = data.draw(st.fixed_dictionaries({}, optional=WRAPPERS.get(wrapper, {})))
        played(wrap=[*others, {wrapper: options}], **drawn)

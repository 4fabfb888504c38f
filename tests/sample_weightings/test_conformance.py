"""Every registered sample weighting against the public suite."""

import inspect
from functools import cache, partial
from typing import Any

import pytest

from autoloss.core.registry.lookup import registry
from autoloss.core.sample_weighting import CLAIMS
from autoloss.core.space import Choice
from autoloss.testing import SampleWeightingSuite
from autoloss.testing.batches import SIZE

# What the defaults cannot show: schedules, rules that are off by default.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "brdr": [{"decay": 0.0, "smoothing": 0.5}],
    "causal": [{"slabs": 3, "tolerances": [1.0, 100.0], "threshold": 0.5}],
    "class_balanced": [{"beta": 0.0}],
    "data_parameters": [{"class_lr": 0.1, "decay": 0.01}],
    "edm": [{"target": "v"}],
    "focal": [{"gamma": 0.0}],
    "group_dro": [{"key": "group", "step": 1.0}, {"adjustment": 2.0}],
    "level_uncertainty": [{"width": 3, "lr": 0.1}],
    "min_snr": [{"target": "x0"}, {"target": "v"}],
    "p2": [{"gamma": 0.0, "target": "x0"}],
    "percentile": [{"slope": 0.5, "burn_in": 1}],
    "rba": [{"potential": "exponential", "start": 1.0, "gamma": 0.5}],
    "self_adaptive": [{"power": 1.0, "lr": 0.1}],
    "self_paced": [
        *({"form": form, "keep": 0.5} for form in ("hard", "linear", "logarithmic", "mixture", "logistic")),
        {"form": "polynomial", "keep": 0.5, "power": 3.0},
        {"threshold": "linear(0.1,2)"},
    ],
    "sigmoid": [{"target": "x0", "bias": -3.0}],
    "small_loss": [{"rate": 0.4, "ramp": 1}],
    "super_loss": [{"tau": 1.0, "lam": 0.25}],
    "top_k": [{"share": "linear(1,0.1)"}],
}


def choices(name: str) -> list[dict[str, Any]]:
    """Each further option of each parameter that is a choice."""
    try:
        target = registry.load("sample_weighting", name)
    except Exception:
        return []
    spaces = [(key, of.options) for key, of in target.search_space.items() if isinstance(of, Choice)]
    default = {key: inspect.signature(target).parameters[key].default for key, _ in spaces}
    return [{key: option} for key, options in spaces for option in options if option != default[key]]


RULES = {
    f"{name}({', '.join(f'{k}={v}' for k, v in parameters.items())})": (name, parameters)
    for name in registry.names("sample_weighting")
    for parameters in ({}, *VARIANTS.get(name, []), *choices(name))
}


@cache
def claims(key: str) -> frozenset[str]:
    name, parameters = RULES[key]
    return registry.build("sample_weighting", name, **parameters).bind(SIZE).claims


class TestRegistered(SampleWeightingSuite):
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test of a claim gets the rules that make it: the suite would skip the others."""
        claim = metafunc.function.__name__.removeprefix("test_claim_")
        named = [key for key in RULES if claim not in CLAIMS or claim in claims(key)]
        metafunc.parametrize("_of", named, indirect=True)

    @pytest.fixture(autouse=True)
    def _of(self, request: pytest.FixtureRequest) -> None:
        name, parameters = RULES[request.param]
        self.sample_weighting = partial(registry.build, "sample_weighting", name, **parameters)


@pytest.mark.gpu
class TestRegisteredOnGpu(TestRegistered):
    device = "cuda"

"""Every registered weighting, and every wrapper around two of them, against the public suite."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import pytest

from autoloss.core.registry.lookup import registry
from autoloss.core.space import Choice
from autoloss.core.weighting import CLAIMS, Weighting
from autoloss.testing import WeightingSuite

# What a constructor requires, and what the suite must know then.
REQUIRED: dict[str, dict[str, Any]] = {
    "gradient_cosine": {"main": "a"},
    "ol_aux": {"main": ["a"]},
    "vqgan": {"adversarial": "a"},
}
FEWEST = {"gradient_cosine": 2, "ol_aux": 2, "vqgan": 2}
# What the defaults cannot show: arguments that name losses, rules that are off by default, slow ones.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "auto_lambda": [{"variant": "raw", "start": 0.1}],
    "autoscale": [{"steps": 4, "every": 1}, {"steps": 3, "every": 2, "widest": 2.0}],
    "balancer": [{"shares": {"a": 3.0}, "decay": 0.5}],
    "cagrad": [{"c": 1.0, "rescale": 0}],
    "coba": [{"window": 4, "warmup": 2}, {"window": 3, "warmup": 2, "every": 2}],
    "cosmos": [{"preference": {"a": 3.0}}],
    "cov": [{"decay": 0.5}],
    "dual_cone": [{"reference": "a"}],
    "dwa": [{"window": 2}],
    "fairgrad": [{"alpha": 0.5, "max_norm": 0.0}],
    "fixed": [{"weights": {"a": 2.0}}],
    "geometric": [{"focus": ["a"]}],
    "graddrop": [{"leak": {"a": 0.5}}],
    "gradnorm": [{"alpha": 0.0}],
    "gradvac": [{"beta": 0.5}],
    "learned": [{"norms": True, "seed": 1}],
    "lr_annealing": [{"reference": "a", "decay": 0.5}],
    "nash_mtl": [{"max_norm": 0.0}],
    "ol_aux": [{"main": "b", "rate": 1.0, "window": 1}],
    "p_norm": [{"p": 4.0, "weights": {"a": 3.0}}],
    "pbi": [{"preference": {"a": 3.0}, "ideal": {"a": 0.1}}],
    "relobralo": [{"alpha": 0.5, "keep": 0.5}],
    "scale_invariant": [{"weights": {"a": 3.0}}],
    "scheduled": [{"schedules": {"a": "linear(0,1)"}}],
    "smooth_tchebycheff": [{"mu": 0.01, "preference": {"a": 3.0}, "ideal": {"a": 0.1}}, {"log": True, "warmup": 3}],
    "softadapt": [{"beta": 1.0, "order": order} for order in (2, 5)],
    "tchebycheff": [{"preference": {"a": 3.0}, "ideal": {"a": 0.1}}],
    "uncertainty": [{"variant": {"a": "laplace"}}, {"variant": "softmax", "lr": 0.5}],
    "vqgan": [{"adversarial": "a", "main": "b", "start": 3}, {"adversarial": ["a"], "start_progress": 0.5}],
    "weighted_mean": [{"weights": {"a": 3.0}}],
}
# Short enough that a trajectory of eight steps goes through all of their phases.
WRAPPERS: dict[str, dict[str, Any]] = {
    "clamp": {"low": 0.1, "high": 5.0},
    "ema": {"decay": 0.5},
    "every_n": {"n": 3},
    "regularise": {"strength": 0.5, "prior": {"a": 3.0}},
    "warmup": {"steps": 3},
}
INNER = ("uncertainty", "gradnorm")


def choices(name: str) -> list[dict[str, Any]]:
    """Each further option of each parameter that is a choice; none of a broken file, its own tests report it."""
    try:
        target = registry.load("weighting", name)
    except Exception:
        return []
    spaces = [(key, of.options) for key, of in target.search_space.items() if isinstance(of, Choice)]
    default = {key: inspect.signature(target).parameters[key].default for key, _ in spaces}
    required = REQUIRED.get(name, {})
    return [required | {key: option} for key, options in spaces for option in options if option != default[key]]


WEIGHTINGS = {
    f"{name}({', '.join(f'{k}={v}' for k, v in parameters.items())})": (name, parameters)
    for name in registry.names("weighting")
    for parameters in (REQUIRED.get(name, {}), *VARIANTS.get(name, []), *choices(name))
}
WRAPPED = {f"{name}({inner})": (name, inner) for name in registry.names("wrapper") for inner in INNER}


def build(key: str) -> Weighting:
    name, parameters = WEIGHTINGS[key]
    return registry.build("weighting", name, **parameters)


def wrapped(key: str) -> Weighting:
    name, inner = WRAPPED[key]
    return registry.build("wrapper", name, registry.build("weighting", inner), **WRAPPERS.get(name, {}))


@cache
def claims(make: Callable[..., Weighting], *given: str) -> frozenset[str]:
    return make(*given).bind("abc").claims


def of_those_that_claim(metafunc: pytest.Metafunc, make: Callable[..., Weighting], made: Mapping[str, Any]) -> None:
    """Give a test of a claim the weightings that make it: the suite would skip the others."""
    claim = metafunc.function.__name__.removeprefix("test_claim_")
    metafunc.parametrize(
        "_of", [key for key in made if claim not in CLAIMS or claim in claims(make, key)], indirect=True
    )


class TestRegistered(WeightingSuite):
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        of_those_that_claim(metafunc, build, WEIGHTINGS)

    @pytest.fixture(autouse=True)
    def _of(self, request: pytest.FixtureRequest) -> None:
        self.fewest = FEWEST.get(WEIGHTINGS[request.param][0], 1)
        self.weighting = partial(build, request.param)


class TestWrapped(WeightingSuite):
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        of_those_that_claim(metafunc, wrapped, WRAPPED)

    @pytest.fixture(autouse=True)
    def _of(self, request: pytest.FixtureRequest) -> None:
        self.weighting = partial(wrapped, request.param)


@pytest.mark.slow
class TestManyLossesForLong(TestRegistered):
    """More losses than directions at times, and more steps than any window."""

    names = tuple("abcdef")
    steps = 30


@pytest.mark.gpu
class TestRegisteredOnGpu(TestRegistered):
    device = "cuda"


@pytest.mark.gpu
class TestWrappedOnGpu(TestWrapped):
    device = "cuda"

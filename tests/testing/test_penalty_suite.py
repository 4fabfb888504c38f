"""The suite against penalties that are broken on purpose: each must fail one check, and that one only."""

import inspect
from typing import Any

import pytest
import torch

from autoloss.core.penalty import at_least_float32
from autoloss.testing import PenaltySuite

CHECKS = sorted(name for name, _ in inspect.getmembers(PenaltySuite, inspect.isfunction) if name.startswith("test_"))


def failing(penalty: Any) -> set[str]:
    suite = type("Suite", (PenaltySuite,), {"penalty": staticmethod(lambda: penalty)})()
    failed = set()
    for check in CHECKS:
        try:
            getattr(suite, check)()
        except Exception:
            failed.add(check)
    return failed


def good(parameters: Any) -> Any:
    return torch.stack([p.square().sum() for p in at_least_float32(parameters)]).sum()


def rewards(parameters: Any) -> Any:
    return -good(parameters)


def needs_two(parameters: Any) -> Any:
    return good(parameters) / (len(parameters) - 1)


def counts_the_first_more(parameters: Any) -> Any:
    return good(parameters) + good(parameters[:1])


def has_no_slope_for_the_last(parameters: Any) -> Any:
    return good([*parameters[:-1], parameters[-1].detach()])


def takes_plain_norms(parameters: Any) -> Any:
    return torch.stack([p.square().sum().sqrt() for p in at_least_float32(parameters)]).sum()


def sums_in_half(parameters: Any) -> Any:
    return torch.stack([p.square().sum() for p in parameters]).sum()


def halves_them(parameters: Any) -> Any:
    value = good(parameters)
    if not any(p.requires_grad for p in parameters) and parameters[0].dtype == torch.float32 and len(parameters) > 2:
        parameters[0].mul_(0.5)
    return value


def looks(parameters: Any) -> Any:
    return good(parameters) * (1.0 if good(parameters).item() >= 0 else 2.0)


BROKEN = {
    rewards: "test_gives_one_number_of_at_least_0",
    needs_two: "test_takes_a_single_tensor",
    counts_the_first_more: "test_order_of_tensors_does_not_matter",
    takes_plain_norms: "test_is_finite_with_its_gradient_for_small_and_large_parameters",
    sums_in_half: "test_computes_in_single_precision_at_least",
    halves_them: "test_leaves_the_parameters_alone",
    looks: "test_waits_for_no_device",
}


def test_passes_what_is_right() -> None:
    assert failing(good) == set()


@pytest.mark.parametrize("broken", BROKEN)
def test_fails_exactly_what_is_broken(broken: Any) -> None:
    assert failing(broken) == {BROKEN[broken]}


def test_a_missing_slope_is_found() -> None:
    assert "test_gradient_is_that_of_the_value" in failing(has_no_slope_for_the_last)


def test_every_check_has_something_that_fails_it() -> None:
    assert {*BROKEN.values(), "test_gradient_is_that_of_the_value"} == set(CHECKS)


def test_a_suite_without_a_penalty_says_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match=r"Override penalty\(\)"):
        PenaltySuite().test_takes_a_single_tensor()

"""What follows progress needs a length, and what follows epochs is told them; otherwise somebody is told."""

import warnings

import pytest
import torch

from autoloss import Balancer, build
from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.training.step.penalties import Penalties

FALLING = {"name": "scheduled", "schedules": {"a": "linear(1,0)"}}
OF_PROGRESS = [
    {"weighting": FALLING},
    {"weighting": {**FALLING, "wrap": ["clamp", "ema"]}},
    {"weighting": {"name": "vqgan", "adversarial": "b", "start_progress": 0.5}},
    {"sample_weighting": {"name": "top_k", "share": "linear(1,0.5)"}},
    {"sample_weighting": {"name": "self_paced"}},
    {"sample_weighting": {"name": "self_paced", "keep": 0.5, "threshold": "linear(1,2)"}},
]
OF_EPOCHS = [
    {"weighting": "dwa"},
    {"weighting": {"name": "dwa", "wrap": ["ema"]}},
    {"weighting": {"name": "scheduled", "schedules": {"a": "linear(1,0,0,9)"}, "by": "epoch"}},
    {"sample_weighting": {"name": "self_paced", "keep": 0.5}},
    {"sample_weighting": {"name": "percentile", "burn_in": 1}},
    {"sample_weighting": "small_loss"},
]
SAID_ALREADY = [
    {"weighting": "uncertainty"},
    {"weighting": {"name": "dwa", "window": 5}},
    {"weighting": {"name": "scheduled", "schedules": {"a": 2.0}}},
    {"weighting": {**FALLING, "by": "plateau"}},
    {"weighting": {"name": "vqgan", "adversarial": "b"}},
    {"sample_weighting": {"name": "top_k", "share": 0.5}},
    {"sample_weighting": {"name": "self_paced", "keep": 0.5, "burn_in": 0}},
    {"sample_weighting": "percentile"},
    {"sample_weighting": {"name": "small_loss", "rate": 0.0}},
]


def step(balancer, times=1):
    p = torch.ones(4, requires_grad=True)
    for _ in range(times):
        balancer({"a": p * 2, "b": p.square()}, anchor=p)


@pytest.mark.parametrize("given", OF_PROGRESS, ids=str)
def test_a_schedule_of_progress_without_a_length_is_an_error_at_the_first_step(given):
    with pytest.raises(ConfigError, match="follows progress, so the length of training must be known, but it is not"):
        step(Balancer("ab", **{"weighting": "equal", **given}))
    step(Balancer("ab", total_steps=10, **{"weighting": "equal", **given}))


@pytest.mark.parametrize("given", OF_EPOCHS, ids=str)
def test_epochs_that_nobody_sets_are_said_once_and_only_where_they_matter(given):
    balancer = Balancer("ab", **{"weighting": "equal", **given})
    step(balancer, 500)
    with pytest.warns(UserWarning, match=r"follows epochs, .* Call balancer.set_epoch\(epoch\)"):
        step(balancer)
    step(balancer, 20)
    told = Balancer("ab", **{"weighting": "equal", **given})
    told.set_epoch(0)
    step(told, 520)
    resumed = Balancer("ab", **{"weighting": "equal", **given})
    told.set_epoch(1)
    resumed.load_state_dict(told.state_dict())
    resumed._steps.number = 499
    step(resumed, 3)


@pytest.mark.parametrize("given", SAID_ALREADY, ids=str)
def test_what_follows_neither_is_left_alone(given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(Balancer("ab", **{"weighting": "equal", **given}), 510)


def test_dwa_names_its_window():
    balancer = Balancer("ab", "dwa")
    step(balancer, 500)
    with pytest.warns(UserWarning, match="weighting.window"):
        step(balancer)


@pytest.mark.parametrize("node", ["linear(0,1)", {"name": "sparsity", "factor": "linear(0,1)"}])
def test_a_penalty_with_a_schedule_needs_a_length_too(node):
    penalties = Penalties({"sparsity": node})
    with pytest.raises(ConfigError, match="Penalty 'sparsity' follows progress"):
        penalties.check(Clock(unknown=frozenset({"progress"})))
    penalties.check(Clock())
    Penalties({"sparsity": 0.1}).check(Clock(unknown=frozenset({"progress"})))
    assert build("penalty", "sparsity").schedules == {}

"""Wrappers: read, then write; needs that narrow; and what each does to the weights inside."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.need import Need
from autoloss.core.registry.lookup import registry
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper
from autoloss.weightings.auto import Auto
from autoloss.weightings.auto_lambda import AutoLambda
from autoloss.weightings.equal import Equal
from autoloss.weightings.gradnorm import Gradnorm
from autoloss.weightings.wrappers.clamp import Clamp
from autoloss.weightings.wrappers.ema import Ema
from autoloss.weightings.wrappers.every_n import EveryN
from autoloss.weightings.wrappers.from_auto import FromAuto
from autoloss.weightings.wrappers.normalise import Normalise
from autoloss.weightings.wrappers.regularise import Regularise
from autoloss.weightings.wrappers.warmup import Warmup

Of = Callable[..., Signals]
Learn = Callable[[Weighting, Signals], Tensor]


class Echo(Weighting):
    """Answers with the losses' values."""

    positive = True

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.clone()


class Counting(Weighting):
    """Answers 1 + the number of its updates for every loss, and asks for everything."""

    updates: Tensor
    needs = Need.VALUES | Need.GRAM | Need.STATS

    def allocate(self, size: int) -> None:
        self.add_state("updates", torch.zeros(()))

    def forward(self, signals: Signals) -> Tensor:
        return 1 + self.updates.expand(len(signals.names))

    def update(self, signals: Signals) -> None:
        self.updates += 1


def over_steps(weighting: Weighting, steps: int, of: Of, learn: Learn) -> list[float]:
    """The first loss's weight at each step."""
    weighting.bind(["a", "b"])
    return [learn(weighting, of([1.0, 1.0], step=step))[0].item() for step in range(steps)]


@pytest.mark.parametrize("name", registry.names("wrapper"))
def test_a_wrapper_takes_over_what_its_inner_weighting_declares(name: str, signals_of: Of, learn: Learn) -> None:
    assert registry.build("wrapper", name, Echo()).positive
    wrapper: Wrapper = registry.build("wrapper", name, Counting())
    assert wrapper.needs == Counting.needs
    assert wrapper.needs_at(1000) == Counting.needs  # a multiple of every_n's 10, beyond warmup's 100
    wrapper.bind(["a", "b"])
    assert wrapper.inner.names == ("a", "b")
    assert "inner.updates" in wrapper.state_dict()
    learn(wrapper, signals_of([1.0, 2.0], step=1000))
    assert wrapper.inner.updates == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Clamp(Echo(), low=-1.0), r"0 <= low <= high must hold, but low=-1.0, high=100.0"),
        (lambda: Clamp(Echo(), low=2.0, high=1.0), r"0 <= low <= high must hold, but low=2.0, high=1.0"),
        (lambda: Ema(Echo(), decay=1.0), r"`decay` must lie in \[0, 1\), but decay=1.0"),
        (lambda: Ema(Echo(), decay=-0.1), r"`decay` must lie in \[0, 1\), but decay=-0.1"),
        (lambda: EveryN(Echo(), n=0), r"`n` must be at least 1, but n=0"),
        (lambda: Warmup(Echo(), steps=-1), r"`steps` must be at least 0, but steps=-1"),
        (lambda: Regularise(Echo(), strength=1.5), r"`strength` must lie in \[0, 1\], but strength=1.5"),
        (lambda: Regularise(Echo(), prior={"a": -1.0}), r"prior.a=-1.0"),
        (lambda: Regularise(Echo(), prior={"d": 1.0}).bind(["a"]), r"there is no loss 'd'. The losses are: a"),
    ],
)
def test_wrong_parameters_are_named(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()


def test_clamp_bounds_each_weight_and_restores_no_sum(signals_of: Of) -> None:
    weights = Clamp(Echo(), low=0.5, high=2.0).bind(["a", "b", "c"])(signals_of([0.1, 1.0, 9.0]))
    assert weights.tolist() == [0.5, 1.0, 2.0]


def test_ema_starts_at_the_first_weights_and_follows_them(signals_of: Of, learn: Learn) -> None:
    ema = Ema(Echo(), decay=0.75).bind(["a"])
    expected = inner = 8.0
    for inner in (8.0, 4.0, 0.0, 12.0):
        expected = 0.75 * expected + 0.25 * inner
        assert learn(ema, signals_of([inner])).item() == expected


def test_ema_averages_what_the_inner_weighting_said_before_it_learnt(signals_of: Of, learn: Learn) -> None:
    assert over_steps(Ema(Counting(), decay=0.5), 4, signals_of, learn) == [1.0, 1.5, 2.25, 3.125]


def test_ema_without_decay_changes_nothing(signals_of: Of, learn: Learn) -> None:
    assert over_steps(Ema(Counting(), decay=0.0), 4, signals_of, learn) == [1.0, 2.0, 3.0, 4.0]


def test_ema_leaves_out_steps_that_a_loss_is_absent_from(signals_of: Of, learn: Learn) -> None:
    ema = Ema(Echo(), decay=0.5).bind(["a", "b"])
    learn(ema, signals_of([4.0, 6.0], present=[True, False]))
    assert learn(ema, signals_of([8.0, 6.0])).tolist() == [6.0, 6.0]  # b starts at its own first weight, not at 1
    learn(ema, signals_of([0.0, 6.0], present=[False, True]))
    assert ema(signals_of([6.0, 6.0])).tolist() == [6.0, 6.0]


def test_every_n_asks_and_learns_only_at_every_nth_step(signals_of: Of, learn: Learn) -> None:
    every = EveryN(Counting(), n=3)
    asked = [every.needs_at(step) for step in range(7)]
    assert [needs == Counting.needs for needs in asked] == [True, False, False, True, False, False, True]
    assert all(needs == Need.VALUES for step, needs in enumerate(asked) if step % 3)
    assert over_steps(every, 8, signals_of, learn) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0]
    assert every.inner.updates == 3


def test_every_n_holds_the_weights_that_were_used(signals_of: Of, learn: Learn) -> None:
    every = EveryN(Echo(), n=2).bind(["a", "b"])
    assert learn(every, signals_of([5.0, 7.0], step=0)).tolist() == [5.0, 7.0]
    assert learn(every, signals_of([1.0, 1.0], step=1)).tolist() == [5.0, 7.0]
    assert learn(every, signals_of([3.0, 9.0], present=[True, False], step=2)).tolist()[0] == 3.0
    assert learn(every, signals_of([1.0, 1.0], step=3)).tolist() == [3.0, 7.0]  # b was absent when it was asked


def test_every_n_hands_out_no_state_that_a_caller_could_write_to(signals_of: Of) -> None:
    every = EveryN(Echo(), n=2).bind(["a"])
    every(signals_of([1.0], step=1)).mul_(100)
    assert every(signals_of([1.0], step=1)).tolist() == [1.0]


def test_every_n_between_two_measurements_has_equal_weights_at_first(signals_of: Of, learn: Learn) -> None:
    late = Warmup(EveryN(Counting(), n=4), steps=2)
    assert [bool(late.needs_at(step) & Need.GRAM) for step in range(6)] == [False, False, False, False, True, False]
    assert over_steps(late, 9, signals_of, learn) == [1.0] * 8 + [2.0]


def test_warmup_gives_ones_and_shows_the_inner_weighting_nothing(signals_of: Of, learn: Learn) -> None:
    warmup = Warmup(Counting(), steps=3)
    assert [bool(warmup.needs_at(step) & Need.GRAM) for step in range(5)] == [False, False, False, True, True]
    assert over_steps(warmup, 6, signals_of, learn) == [1.0, 1.0, 1.0, 1.0, 2.0, 3.0]
    assert warmup.inner.updates == 3


def test_warmup_of_no_steps_changes_nothing(signals_of: Of, learn: Learn) -> None:
    assert over_steps(Warmup(Counting(), steps=0), 3, signals_of, learn) == [1.0, 2.0, 3.0]


def test_normalise_sums_to_the_number_of_present_losses(signals_of: Of) -> None:
    normalise = Normalise(Echo()).bind(["a", "b", "c"])
    assert normalise(signals_of([1.0, 2.0, 3.0])).tolist() == [0.5, 1.0, 1.5]
    assert normalise(signals_of([1.0, 5.0, 3.0], present=[True, False, True])).tolist()[::2] == [0.5, 1.5]


@pytest.mark.parametrize("values", [[0.0, 0.0], [-1.0, 0.5]])
def test_normalise_gives_equal_weights_where_nothing_can_be_scaled(values: list[float], signals_of: Of) -> None:
    assert Normalise(Echo()).bind(["a", "b"])(signals_of(values)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("strength", "expected"), [(0.0, [1.0, 2.0, 6.0]), (0.5, [3.875, 1.0, 4.125]), (1.0, [6.75, 0.0, 2.25])]
)
def test_regularise_goes_from_the_inner_weights_to_the_prior(
    strength: float, expected: list[float], signals_of: Of
) -> None:
    # With c at 1 the prior has the mean 4/3, the inner weights 3: at full strength 3 * (3, 0, 1) * 3/4.
    weights = Regularise(Echo(), strength, {"a": 3.0, "b": 0.0}).bind(["a", "b", "c"])(signals_of([1.0, 2.0, 6.0]))
    assert weights.tolist() == pytest.approx(expected)
    assert sum(expected) == 9.0


def test_regularise_without_a_prior_pulls_towards_equal_weights(signals_of: Of) -> None:
    weights = Regularise(Echo(), strength=0.5).bind(["a", "b"])(signals_of([1.0, 5.0]))
    assert weights.tolist() == [2.0, 4.0]


def test_regularise_takes_means_over_present_losses(signals_of: Of) -> None:
    regularise = Regularise(Echo(), 0.5, {"b": 100.0}).bind(["a", "b", "c"])
    weights = regularise(signals_of([1.0, 50.0, 5.0], present=[True, False, True]))
    assert weights.tolist()[::2] == [2.0, 4.0]


def test_wrappers_chain(signals_of: Of, learn: Learn) -> None:
    """The outermost has the last word, and needs narrow through all of them."""
    chain = Clamp(Ema(EveryN(Counting(), n=2), decay=0.5), high=1.6)
    assert [bool(chain.needs_at(step) & Need.STATS) for step in range(4)] == [True, False, True, False]
    # inside: 1, 1, 2, 2, 3; averaged: 1, 1, 1.5, 1.75, 2.375
    assert over_steps(chain, 5, signals_of, learn) == pytest.approx([1.0, 1.0, 1.5, 1.6, 1.6])
    assert chain.inner.average.tolist() == [2.375, 2.375]


def test_from_auto_begins_with_the_weights_of_auto(signals_of: Of, learn: Learn) -> None:
    wrapper, auto = FromAuto(Equal()).bind(["a", "b"]), Auto().bind(["a", "b"])
    for step in range(4):
        gram = torch.diag(torch.tensor([4.0 + step, 1.0]))
        signals = signals_of([1.0, 2.0], gram=gram, step=step)
        assert torch.equal(learn(wrapper, signals), learn(auto, signals))


def test_from_auto_tells_the_slope_of_the_inner_weight(signals_of: Of, learn: Learn) -> None:
    wrapper = FromAuto(AutoLambda(variant="raw")).bind(["a", "b"])
    alone, auto = AutoLambda(variant="raw").bind(["a", "b"]), Auto().bind(["a", "b"])
    gram, slopes = torch.diag(torch.tensor([16.0, 1.0])), torch.tensor([0.3, -0.2])
    signals = replace(signals_of([1.0, 2.0], gram=gram), measured_alignment=slopes)
    weights = learn(wrapper, signals)
    # J(w) with w = v a: dJ/dv = a dJ/dw.
    learn(alone, replace(signals, measured_alignment=slopes * auto(signals)))
    assert torch.equal(weights, auto(signals))
    assert torch.equal(wrapper.inner.value, alone.value)
    assert wrapper.inner.value[0] > 1 > wrapper.inner.value[1]


def test_from_auto_needs_no_anchor_unless_the_inner_weighting_does() -> None:
    assert FromAuto(AutoLambda()).needs_here(0, anchored=False) == Need.VALUES | Need.ALIGNMENT
    assert FromAuto(Gradnorm()).needs_here(0, anchored=False) == Need.VALUES | Need.GRAM

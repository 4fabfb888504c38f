"""Every registered weighting with a loss that is 0 for long, and large when it is back; nothing is NaN or stuck."""

import inspect
from dataclasses import replace
from typing import Any

import pytest

from autoloss.core.registry.lookup import registry
from autoloss.core.tensors.state import commit
from autoloss.testing.streams import stream
from autoloss.weightings.imtl_l import ImtlL
from autoloss.weightings.revised_uncertainty import RevisedUncertainty
from autoloss.weightings.uncertainty import Uncertainty
from autoloss.weightings.wrappers.clamp import Clamp

REQUIRED: dict[str, dict[str, Any]] = {
    "gradient_cosine": {"main": "a"},
    "ol_aux": {"main": "a"},
    "vqgan": {"adversarial": "a"},
}
NAMES = ("a", "b")
LEARNED = [Uncertainty(lr=0.5), Uncertainty("softmax", lr=0.5), Uncertainty("laplace", lr=0.5), ImtlL(lr=0.5)]
LEARNED += [RevisedUncertainty(lr=0.5)]


def silenced(signals, loss):
    """The signals where loss b is ``loss`` and, if that is 0, has no gradient."""
    values = signals.values.clone()
    values[1] = loss
    gram = signals.gram.clone()
    if loss == 0:
        gram[1] = gram[:, 1] = 0.0
    return replace(signals, values=values, measured_gram=gram, measured_after=values, measured_held_out=values)


def follow(weighting, zeros, back=100.0):
    weighting.bind(NAMES)
    signals = stream(NAMES, 8)
    for step in range(zeros + 20):
        seen = replace(silenced(signals[step % 8], 0.0 if step < zeros else back), step=step)
        yield step, weighting(seen).detach()
        commit(weighting, lambda seen=seen: weighting.update(seen), seen.finite(), seen.present)


@pytest.mark.parametrize("name", sorted(registry.names("weighting")))
def test_a_loss_that_was_0_for_long_gives_finite_weights(name):
    learns = "lr" in inspect.signature(registry.load("weighting", name)).parameters
    given = {"lr": 0.5} if learns else {}
    weighting = registry.build("weighting", name, **given, **REQUIRED.get(name, {}))
    for step, weights in follow(weighting, 300 if learns else 50):
        assert weights.isfinite().all(), (name, step, weights)


@pytest.mark.parametrize("weighting", LEARNED, ids=lambda w: f"{w.title()}-{getattr(w, 'variant', '')}")
def test_a_learned_log_variance_stays_finite_and_comes_back(weighting):
    for step, weights in follow(weighting, 400, back=1e6):
        assert weights.isfinite().all(), (step, weights)
    largest = weights[1].item()
    assert all(buffer.isfinite().all() for buffer in weighting.buffers())
    assert largest < 1e20  # Adam's moments did not overflow, so that it falls again


def test_the_clamp_that_its_card_names_bounds_the_weight():
    for _, weights in follow(Clamp(Uncertainty(lr=0.5), high=100.0), 400):
        assert weights.isfinite().all()
        assert weights.max() <= 100


@pytest.mark.parametrize("kind", [Uncertainty, RevisedUncertainty, ImtlL])
def test_a_start_beyond_the_bounds_is_refused(kind):
    with pytest.raises(ValueError, match=r"`start` must lie in \[-46, 46\], but start=-47"):
        kind(start=-47.0)

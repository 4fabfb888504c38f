"""Odd losses of samples, thrown at every registered sample weighting: finite weights, and what each of them claims."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.core.errors import AutolossError
from autoloss.core.registry.lookup import registry
from autoloss.testing import batches
from autoloss.testing.sample_weighting_suite import learn
from tests.properties.odd import FINITE, ODD, QUICK, THOROUGH
from tests.sample_weightings.test_conformance import RULES

MOST = 4  # samples of an odd batch
odd = st.lists(st.sampled_from(ODD), min_size=MOST, max_size=MOST)
finite = st.lists(st.sampled_from(FINITE), min_size=MOST, max_size=MOST)
alike = st.sampled_from(ODD).map(lambda value: [value] * MOST)
one_batch = st.fixed_dictionaries(
    {
        "size": st.integers(0, MOST),
        "losses": odd | finite | alike,
        "present": st.lists(st.booleans(), min_size=MOST, max_size=MOST) | st.just([True] * MOST),
        "alignment": odd | finite,
        "slopes": odd | finite,
        "given": odd | finite,
        "progress": st.sampled_from((0.0, 1e-9, 0.5, 1.0)),
        "epoch": st.sampled_from((0, 1, 10**6)),
    }
)


def samples_of(usual, drawn):
    """The first samples of a ``usual`` batch, with what was ``drawn`` in the place of its numbers."""

    def first(name):
        return torch.tensor(drawn[name], dtype=torch.float32)[: drawn["size"]]

    taken = batches.taken(usual, torch.arange(drawn["size"]))
    present = torch.tensor(drawn["present"])[: drawn["size"]]
    return replace(
        taken,
        losses=first("losses").where(present, 0.0),
        present=present,
        epoch=drawn["epoch"],
        progress=drawn["progress"],
        measured_alignment=first("alignment"),
        measured_slopes=first("slopes"),
        keys={**taken.keys, "weight": first("given")},
    )


def weighed(rule, samples):
    """The weights of a batch, from which ``rule`` then learns; ``None`` for a clear error."""
    try:
        weights = rule(samples).detach().clone()
        learn(rule, samples)
    except AutolossError:
        return None
    assert weights.shape == samples.losses.shape, weights
    return weights


def followed(name, parameters, drawn):
    """Weigh odd batches and then ordinary ones: what is finite gets finite weights, and the state stays finite."""
    rule = registry.build("sample_weighting", name, **parameters).bind(batches.SIZE)
    usual = batches.batches(len(drawn) + 2)
    stream = [samples_of(*pair) for pair in zip(usual, drawn, strict=False)] + usual[-2:]
    for samples in stream:
        weights = weighed(rule, samples)
        for kind, buffer in rule.named_buffers():
            assert buffer.isfinite().all(), (kind, buffer, samples)
        weights = None if weights is None else weights[samples.present]
        if weights is None or not len(weights) or not samples.finite():
            continue
        assert weights.isfinite().all(), (weights, samples)
        assert (weights >= 0).all(), (weights, samples)
        assert "at_most_one" not in rule.claims or weights.max() <= 1.0001, (weights, samples)
        assert "mean_one" not in rule.claims or abs(weights.mean() - 1) <= 1e-4, (weights, samples)


@pytest.mark.parametrize(("name", "parameters"), RULES.values(), ids=RULES)
class TestSampleWeightings:
    @QUICK
    @given(drawn=st.lists(one_batch, min_size=1, max_size=3))
    def test_quick(self, name, parameters, drawn):
        followed(name, parameters, drawn)

    @pytest.mark.slow
    @settings(THOROUGH, max_examples=100)
    @given(drawn=st.lists(one_batch, min_size=1, max_size=3))
    def test_thorough(self, name, parameters, drawn):
        followed(name, parameters, drawn)

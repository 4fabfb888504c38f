"""What is recommended follows from what was measured, on problems made to have one trait each."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from autoloss.core.registry.lookup import registry
from autoloss.probe.targets import look_at
from autoloss.report import read
from autoloss.report.diagnosis import WIDEST, fixed_advice, loss_advice, traits, weighting_advice, worth

FLAT = np.ones(60)


def records(run_directory, norms=(1.0, 1.0), raw=(1.0, 1.0), cosine=0.5):
    table = {f"loss_weight/{n}": FLAT for n in "ab"} | {"loss/total": FLAT, "grad_cosine/a/b": cosine * FLAT}
    for name, norm, value in zip("ab", norms, raw, strict=True):
        table[f"grad_norm/{name}"], table[f"loss_raw/{name}"] = norm * FLAT, value * FLAT
        table[f"grad_share/{name}"] = norm / sum(norms) * FLAT
    return [read(run_directory(f"run{i}", columns=table)) for i in range(2)]


def measured(run_directory, **made):
    return traits(records(run_directory, **made))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, "equal weights are a good choice"),
        ({"norms": (9.0, 1.0)}, "`a` dominates: it has 90% of the gradient"),
        ({"norms": (1.0, 1e-5)}, "`b` is dead"),
        ({"raw": (100.0, 1.0)}, "`a` is 100x the size of `b` at the start. Try weighting=uncertainty"),
        ({"cosine": -0.5}, "in 100% of the steps (mean cosine -0.50). Try weighting=cagrad"),
    ],
)
def test_each_trait_has_its_advice_and_no_other(run_directory, made, expected):
    said = weighting_advice(measured(run_directory, **made))
    assert any(expected in sentence for sentence in said)
    assert len(said) == 1 or "dead" in expected


def test_fixed_weights_are_those_that_make_gradients_equally_long(run_directory):
    (said,) = fixed_advice(records(run_directory, norms=(9.0, 1.0)))
    assert "'weighting.weights={a:0.2,b:1.8}'" in said
    (far,) = fixed_advice(records(run_directory, norms=(1e5, 1.0)))
    assert "{a:0.0198,b:1.98}" in far
    assert registry.load("weighting", "autoscale")().widest == WIDEST
    for nothing in ((1.2, 1.0), (1.0, 0.0), (math.nan, 1.0)):
        assert fixed_advice(records(run_directory, norms=nothing)) == []


@pytest.mark.parametrize(
    ("targets", "loss", "expected"),
    [
        (torch.randn(5000), "mse", ""),
        (torch.rand(5000), "mse", ""),
        (torch.randn(5000) / torch.randn(5000), "mse", "heavy tails"),
        (torch.randn(5000) / torch.randn(5000), "huber", ""),
        (torch.randn(5000).mul(3).exp(), "huber", "spans"),
        (torch.randint(0, 10, (5000,)), "cross_entropy", ""),
        (torch.cat([torch.zeros(990), torch.ones(10)]).long(), "cross_entropy", "rare classes: the rarest is 1.00%"),
        ((torch.rand(5000) < 0.01).float(), "binary_cross_entropy", "nearly always the same"),
    ],
)
def test_losses_follow_the_targets(targets, loss, expected):
    torch.manual_seed(0)
    said = loss_advice({"y": asdict(look_at(targets))}, {"y": loss})
    assert (expected in " ".join(said)) if expected else not said


def test_a_search_is_worth_it_if_the_gain_exceeds_the_noise():
    def run(error, seed):
        return {"metrics": {"error": error}, "goals": {"error": "min"}, "seed": seed, "final_weights": {"a": 1.0}}

    runs = [run(1.0, 0), run(1.02, 1), run(0.98, 2)]
    assert "a search is worth it" in worth(runs, run(0.8, 0))[-1]
    assert "not worth it" in worth(runs, run(0.99, 0))[-1]
    assert "is not known" in worth(runs, None)[-1]
    spread = np.std([0.0, 0.02, -0.02], ddof=1)
    assert f"{spread:.3f}" in worth(runs, None)[0]
    needed = math.ceil((2.8 * math.sqrt(2) * spread / 0.2) ** 2)
    assert f"about {max(2, needed)} seeds" in worth(runs, run(0.8, 0))[-1]

from __future__ import annotations

import torch
from autoloss_template.noisy_sine import NoisySine
from torch.utils.data import DataLoader


def test_a_batch_has_its_terms_an_anchor_and_a_value_of_each_metric_for_each_sample() -> None:
    problem = NoisySine(samples=40)
    batch = next(iter(DataLoader(problem.datasets(0)["train"], batch_size=8)))
    outputs = problem.outputs(problem.network(), batch)
    assert set(outputs.terms) == set(problem.terms)
    assert outputs.anchor is not None
    assert outputs.anchor.requires_grad
    measured = problem.measure(outputs)
    assert set(measured) == set(problem.metrics)
    assert all(values.shape == (8,) for values in measured.values())


def test_data_are_a_function_of_the_seed() -> None:
    one, again, other = (NoisySine(samples=8).datasets(seed)["train"][:][1] for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)

"""Asserts that a member of a fleet equals the same training alone."""

import pytest
import torch

from tests.training.fleet.trainings import MEMBERS, Three, assert_same, train_alone, train_fleet

OPTIMIZERS = {
    "sgd": lambda of, seed: torch.optim.SGD(of, lr=0.02),
    "momentum": lambda of, seed: torch.optim.SGD(of, lr=0.01 * (1 + seed), momentum=0.3 * seed, weight_decay=0.1),
    "nesterov": lambda of, seed: torch.optim.SGD(of, lr=0.01, momentum=0.5, nesterov=True, weight_decay=0.01 * seed),
    "adam": lambda of, seed: torch.optim.Adam(of, lr=0.01),
    "adam_decay": lambda of, seed: torch.optim.Adam(
        of, lr=0.01, weight_decay=0.1 * seed, betas=(0.9 - 0.1 * seed, 0.9)
    ),
    "adamw": lambda of, seed: torch.optim.AdamW(
        of, lr=0.01 * (1 + seed), weight_decay=0.2 * seed, eps=1e-8 * (1 + seed)
    ),
}


@pytest.fixture
def double():
    """The default precision is float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def check(make, problem=None, own_data=False, members=MEMBERS, tolerance=1e-9, **options):
    """Train members that ``make`` makes in a fleet and alone, and assert that all agrees; the fleet."""
    problem = problem or Three()
    data = [problem.datasets(i if own_data else 0)["train"] for i in range(members)]
    if not own_data:
        data = data[:1] * members
    ours, theirs = ([make(problem, seed) for seed in range(members)] for _ in range(2))
    fleet, weights = train_fleet(ours, data, **options)
    alone = [train_alone(one, of, seed, **options) for seed, (one, of) in enumerate(zip(theirs, data, strict=True))]
    for step, found in enumerate(weights):
        expected = torch.stack([of[step] for of in alone])
        found = torch.where(expected.isnan(), torch.nan, found)  # of a batch that was left out there are none
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, equal_nan=True)
    assert_same(ours, theirs, tolerance)
    return fleet

"""Priority-constrained descent: the nearest direction, by brute force and by hand."""

from itertools import combinations

import pytest
import torch

from autoloss.core.errors import AutolossError
from autoloss.weightings.pcd import Pcd


def bound(size, **options):
    return Pcd(**options).bind("abcdefgh"[:size])


def nearest(rows, tau):
    """The nearest d to the first row with <g_j, d> >= tau |g_j|^2: the best of all sets of tight conditions."""
    goal, others = rows[0], rows[1:]
    found = []
    for count in range(len(others) + 1):
        for tight in combinations(range(len(others)), count):
            active = others[list(tight)]
            wanted = tau * active.square().sum(1)
            d = goal if not count else goal + active.T @ torch.linalg.solve(active @ active.T, wanted - active @ goal)
            if ((others @ d) >= tau * others.square().sum(1) - 1e-9).all():
                found.append(d)
    return min(found, key=lambda d: float((d - goal).norm()))


@pytest.mark.parametrize("tau", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_is_the_nearest_direction_of_all_sets_of_conditions(signals_of, tau, size):
    for seed in range(5):
        rows = torch.randn(size, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3
        rows = rows * 10.0 ** torch.arange(size)[:, None].double()  # losses of unlike scale
        weights = bound(size, tau=tau)(signals_of(torch.ones(size), gram=rows @ rows.T)).double()
        d = weights @ rows
        expected = nearest(rows / rows.norm(dim=1, keepdim=True), tau)
        assert torch.allclose(d / d.norm(), expected / expected.norm(), atol=2e-4)
        assert float(d.norm()) == pytest.approx(float(rows[0].norm()), rel=1e-4)
        assert (weights >= 0).all()


def test_two_losses_by_hand(signals_of):
    """g_main = (1, 0), g_other = (-3, 4) / 5: the condition <n, d> >= 0.1 is tight, with the multiplier 0.1 + 0.6."""
    gram = [[1.0, -0.6], [-0.6, 1.0]]
    weights = bound(2, tau=0.1)(signals_of([1.0, 1.0], gram=gram))
    length = (1 - 2 * 0.7 * 0.6 + 0.7**2) ** 0.5
    assert weights.tolist() == pytest.approx([1 / length, 0.7 / length], rel=1e-4)
    agree = bound(2, tau=0.1)(signals_of([1.0, 1.0], gram=[[1.0, 0.5], [0.5, 1.0]]))
    assert agree.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_main_loss_is_the_one_that_is_named(signals_of):
    gram = [[1.0, -0.6], [-0.6, 1.0]]
    first, second = bound(2, tau=0.1), bound(2, main="b", tau=0.1)
    assert first(signals_of([1, 1], gram=gram)).tolist() == second(signals_of([1, 1], gram=gram)).flip(0).tolist()


def test_shares_that_no_direction_gives_are_dropped(signals_of):
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    weights = bound(3, tau=0.1)(signals_of(torch.ones(3), gram=rows @ rows.T))
    assert weights.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)


def test_opposite_gradients_give_no_step(signals_of):
    weights = bound(2, tau=0.0)(signals_of([1, 1], gram=[[1.0, -1.0], [-1.0, 1.0]]))
    assert (weights @ torch.tensor([1.0, -1.0])).abs() < 2e-3


def test_norms_are_means_over_steps(signals_of, learn):
    """A long gradient of the other loss gets more than its share in a step that is long by chance."""
    weighting = bound(2, tau=0.5, beta=0.5)
    learn(weighting, signals_of([1, 1], gram=[[1.0, 0.0], [0.0, 1.0]]))
    weights = weighting(signals_of([1, 1], gram=[[1.0, 0.0], [0.0, 9.0]]))
    mean = (0.5 * 0.5 * 1 + 0.5 * 9) / (1 - 0.5**2)
    long = 3 / mean**0.5
    coefficients = torch.tensor([1.0, 0.5 * long])
    expected = coefficients / torch.tensor([1.0, 3.0]) / coefficients.norm()
    assert weights.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_loss_that_comes_late_begins_its_own_mean(signals_of, learn):
    weighting = bound(2, tau=0.5, beta=0.9)
    for _ in range(5):
        learn(weighting, signals_of([1, 1], gram=[[1.0, 0.0], [0.0, 1.0]], present=[True, False]))
    fresh = bound(2, tau=0.5, beta=0.9)
    signals = signals_of([1, 1], gram=[[1.0, -0.3], [-0.3, 1.0]])
    assert torch.allclose(weighting(signals), fresh(signals), atol=1e-6)


def test_without_the_main_loss_the_others_keep_their_weights(signals_of):
    assert bound(3)(signals_of(torch.ones(3), gram=torch.eye(3), present=[False, True, True]))[1:].tolist() == [1, 1]


def test_agrees_with_torchjd(signals_of, learn):
    theirs = pytest.importorskip("torchjd.aggregation")
    if not hasattr(theirs, "PCDWeighting"):
        pytest.skip("this TorchJD has no PCD")
    ours, other = bound(4, tau=0.2, beta=0.9), theirs.PCDWeighting(0.2, 0.9, 0.0)
    for seed in range(6):
        rows = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3
        gram = rows @ rows.T
        assert torch.allclose(learn(ours, signals_of(torch.ones(4), gram=gram)).double(), other(gram), atol=2e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tau": 1.5}, "`tau` must lie in"), ({"beta": 1.0}, "`beta` must lie in"), ({"main": "z"}, "No loss is called")],
)
def test_mistakes_are_sentences(options, message):
    with pytest.raises(AutolossError, match=message):
        bound(2, **options)

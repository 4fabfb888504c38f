import pytest
import torch
from torch.testing import assert_close

from autoloss.core.weighting import Weighting
from autoloss.weightings.rlw import DRAWS, Rlw

NAMES = ("a", "b", "c")


@pytest.fixture(params=DRAWS)
def distribution(request):
    return request.param


def drawn(weighting: Weighting, signals_of, steps=1500, present=None):
    weighting.bind(NAMES)
    return torch.stack([weighting(signals_of(torch.ones(3), present=present, step=step)) for step in range(steps)])


def test_every_loss_has_weight_one_on_average(distribution, signals_of):
    weights = drawn(Rlw(distribution), signals_of)
    assert (weights >= 0).all()
    assert_close(weights.sum(1), torch.full((1500,), 3.0))
    error = weights.std(0) / 1500**0.5
    assert ((weights.mean(0) - 1).abs() < 4 * error).all()


def test_draws_depend_on_seed_and_step_alone(distribution, signals_of):
    first = drawn(Rlw(distribution, seed=1), signals_of, 20)
    assert torch.equal(first, drawn(Rlw(distribution, seed=1), signals_of, 20))
    assert not torch.equal(first, drawn(Rlw(distribution, seed=2), signals_of, 20))
    assert not torch.equal(first[:-1], first[1:])
    state = torch.random.get_rng_state()
    drawn(Rlw(distribution), signals_of, 2)
    assert torch.equal(state, torch.random.get_rng_state())


def test_an_absent_loss_leaves_the_others_in_proportion(distribution, signals_of):
    whole = drawn(Rlw(distribution), signals_of, 50)
    part = drawn(Rlw(distribution), signals_of, 50, present=[True, True, False])[:, :2]
    assert_close(part.sum(1), torch.full((50,), 2.0))
    told = whole[:, :2].sum(1) > 0  # bernoulli may have drawn the absent one alone
    assert told.sum() > 20
    assert_close(part[told], 2 * whole[told][:, :2] / whole[told][:, :2].sum(1, True))


def test_each_distribution_is_its_own(signals_of):
    def spread(name):
        return drawn(Rlw(name), signals_of).std(0).mean()

    assert spread("uniform") < spread("normal") < spread("bernoulli") < spread("constrained_bernoulli")
    # Dirichlet(1, 1, 1): each share is Beta(1, 2), with variance 1 / 18.
    assert_close(spread("dirichlet"), torch.tensor(3 * (1 / 18) ** 0.5), rtol=0.05, atol=0)
    # The softmax of three uniform numbers lies between these.
    weights = drawn(Rlw("uniform"), signals_of)
    e = torch.tensor(1.0).exp()
    assert (weights > 3 / (1 + 2 * e)).all()
    assert (weights < 3 * e / (2 + e)).all()
    kinds = {tuple(row) for row in drawn(Rlw("bernoulli"), signals_of).round(decimals=3).tolist()}
    assert len(kinds) == 7  # every subset but the empty one
    kinds = {tuple(row) for row in drawn(Rlw("constrained_bernoulli"), signals_of).tolist()}
    assert kinds == {(3.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, 3.0)}

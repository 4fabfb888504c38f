"""Base weights and groups."""

import pytest
import torch

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.table import LossTable
from autoloss.core.terms import Terms


def losses():
    return LossTable({"rec": torch.tensor(2.0), "perc": torch.tensor(3.0), "kl": torch.tensor(10.0)}).reduced(
        ["rec", "perc", "kl"]
    )


def test_a_group_is_seen_as_its_base_weighted_sum():
    terms = Terms(["rec", "perc", "kl"], base={"perc": 0.5}, groups={"nll": ["rec", "perc"]})
    assert terms.units == ("nll", "kl")
    values, counts, present = terms.gather(losses())
    assert values.tolist() == [3.5, 10.0]
    assert present.all()
    assert counts.tolist() == [1.0, 1.0]
    assert float(terms.scalars(losses())[0]) == 3.5


def test_spread_multiplies_base_and_group_base():
    terms = Terms(["rec", "perc", "kl"], base={"perc": 0.5, "kl": 1e-6, "nll": 3}, groups={"nll": ["rec", "perc"]})
    assert torch.allclose(terms.spread(torch.tensor([2.0, 4.0])), torch.tensor([6.0, 3.0, 4e-6]))


def test_a_single_loss_is_seen_without_its_base_weight():
    terms = Terms(["rec", "perc", "kl"], base={"kl": 1e-6})
    assert terms.gather(losses())[0].tolist() == [2.0, 3.0, 10.0]


@pytest.mark.parametrize(
    ("base", "groups", "error", "says"),
    [
        ({"klx": 1.0}, {}, UnknownNameError, "No loss is called 'klx'. Did you mean 'kl'?"),
        ({"kl": -1.0}, {}, ConfigError, "must be finite and not negative, but base.kl=-1.0"),
        ({"kl": float("nan")}, {}, ConfigError, "must be finite and not negative"),
        ({}, {"g": ["rec", "nope"]}, UnknownNameError, "No loss is called 'nope'"),
        ({}, {"g": []}, ConfigError, "A group must have losses"),
        ({}, {"g": ["rec"], "h": ["rec"]}, ConfigError, "'rec' is in 'g' and 'h'"),
        ({}, {"kl": ["rec", "perc"]}, ConfigError, "'kl' is one. Rename the group"),
    ],
)
def test_mistakes(base, groups, error, says):
    with pytest.raises(error, match=says.replace("?", r"\?")):
        Terms(["rec", "perc", "kl"], base, groups)

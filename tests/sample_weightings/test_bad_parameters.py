"""Parameters and labels that no rule can use."""

import math

import pytest
import torch

from autoloss import Balancer, Entry
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.core.registry.lookup import registry

BAD = [
    ("focal", {"gamma": -1}, "`gamma` must be at least 0"),
    ("top_k", {"share": 0.0}, r"`share` must lie in \(0, 1\]"),
    ("self_paced", {"form": "hrad"}, "'hard'"),
    ("self_paced", {"keep": "linear(0,1)"}, "`keep` must lie"),
    ("self_paced", {"burn_in": -1}, "`burn_in` must be"),
    ("self_paced", {"threshold": 0.0}, "`threshold` must be above 0"),
    ("self_paced", {"power": 1.0}, "`power` must be above 1"),
    ("self_paced", {"mix": 1.0}, "`mix` must lie"),
    ("super_loss", {"lam": 0}, "`lam` must be above 0"),
    ("super_loss", {"tau": math.inf}, "`tau` of .* must be a finite number"),
    ("percentile", {"p": 0}, "`p` must lie"),
    ("percentile", {"decay": 1}, "`decay` must lie"),
    ("small_loss", {"rate": 1.0}, "`rate` must lie"),
    ("class_balanced", {"beta": 1.0}, "`beta` must lie"),
    ("data_parameters", {"momentum": 1.0}, "`momentum` must lie"),
    ("given", {"key": ""}, "`key` must name"),
]


@pytest.mark.parametrize(("name", "parameters", "said"), BAD)
def test_parameters_are_checked_when_built(name, parameters, said):
    with pytest.raises(AutolossError, match=said):
        registry.build("sample_weighting", name, **parameters)


def test_labels_out_of_range_and_missing_are_errors():
    balancer = Balancer(["a"], "equal", sample_weighting={"name": "class_balanced", "classes": 3})
    values = torch.ones(2)
    with pytest.raises(ConfigError, match="below `classes`, 3, but one is 3"):
        balancer({"a": Entry(values, labels=torch.tensor([0, 3]))})
    with pytest.raises(ConfigError, match="at least 0"):
        balancer({"a": Entry(values, labels=torch.tensor([0, -1]))})
    with pytest.raises(AutolossError, match="has no target of whole numbers"):
        balancer({"a": values})

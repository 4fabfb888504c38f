"""A network whose losses meet at a fork."""

import pytest
import torch
from torch import nn

from tests.training.step.forks import NAMES


@pytest.fixture
def net():
    """Heads that oppose each other, so that methods have something to do."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(5, 4), **{name: nn.Linear(4, 3) for name in NAMES}})
    with torch.no_grad():
        for name, bias in {"b": 2.0, "c": -1.5}.items():
            net[name].weight.copy_(net["a"].weight + 0.3 * net[name].weight)
            net[name].bias.fill_(bias)
    return net

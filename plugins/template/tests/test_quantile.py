from __future__ import annotations

import pytest
import torch
from autoloss_template.quantile import Quantile

from autoloss.testing import LossSuite


class TestQuantile(LossSuite):
    """Everything that training expects of a loss."""

    loss = Quantile


def test_a_shortfall_costs_q_and_an_excess_the_rest() -> None:
    values = Quantile(q=0.9)(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]]))
    torch.testing.assert_close(values, torch.tensor([0.9, 0.1]))


def test_q_is_checked_when_built() -> None:
    with pytest.raises(ValueError, match=r"`q` must lie in \(0, 1\), but q=1.5"):
        Quantile(q=1.5)

from __future__ import annotations

import pytest
import torch
from autoloss_template.inverse_mean import InverseMean

from autoloss import Signals
from autoloss.testing import WeightingSuite


class TestInverseMean(WeightingSuite):
    """Everything that training expects of a weighting, and the claims that this one makes."""

    weighting = InverseMean


def test_weighted_losses_are_equal_at_first() -> None:
    signals = Signals(("a", "b"), torch.tensor([1.0, 4.0]), torch.tensor([True, True]))
    weights = InverseMean().bind(["a", "b"])(signals)
    torch.testing.assert_close(weights, torch.tensor([1.6, 0.4]))


def test_decay_is_checked_when_built() -> None:
    with pytest.raises(ValueError, match=r"`decay` must lie in \[0, 1\), but decay=1"):
        InverseMean(decay=1)

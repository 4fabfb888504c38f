from __future__ import annotations

import pytest
import torch
from autoloss_template.winsor import Winsor

from autoloss import Samples
from autoloss.testing import SampleWeightingSuite


class TestWinsor(SampleWeightingSuite):
    """Everything that training expects of a sample weighting, and the claims that this one makes."""

    sample_weighting = Winsor


def test_an_outlier_counts_for_factor_times_the_mean() -> None:
    samples = Samples("a", torch.tensor([1.0, 1.0, 10.0]), torch.ones(3, dtype=torch.bool))
    weights = Winsor(factor=1.5).bind()(samples)
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 0.6]))


def test_factor_is_checked_when_built() -> None:
    with pytest.raises(ValueError, match="`factor` must be above 0, but factor=0"):
        Winsor(factor=0)

"""Conformance suites for plugin authors, and for autoloss itself."""

from autoloss.testing.loss_suite import LossSuite
from autoloss.testing.weighting_suite import WeightingSuite

__all__ = ["LossSuite", "WeightingSuite"]

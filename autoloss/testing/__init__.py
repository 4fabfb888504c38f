"""Conformance suites for plugin authors, and for autoloss itself."""

from autoloss.testing.loss_suite import LossSuite
from autoloss.testing.module_suite import ModuleSuite
from autoloss.testing.penalty_suite import PenaltySuite
from autoloss.testing.sample_weighting_suite import SampleWeightingSuite
from autoloss.testing.streams import stream
from autoloss.testing.weighting_suite import WeightingSuite

__all__ = ["LossSuite", "ModuleSuite", "PenaltySuite", "SampleWeightingSuite", "WeightingSuite", "stream"]

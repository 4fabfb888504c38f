"""Measures what a weighting needs: gradients of the losses, compared at an anchor."""

from autoloss.probe.gradients import Measured, measure

__all__ = ["Measured", "measure"]

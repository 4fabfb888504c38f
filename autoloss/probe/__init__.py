"""From what a weighting needs to what it gets: gradients of the losses, compared at an anchor."""

from autoloss.probe.gradients import Measured, measure

__all__ = ["Measured", "measure"]

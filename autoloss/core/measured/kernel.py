"""The traces of the losses' neural tangent kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.measured.signal import Drawn, MicroBatches, Signal
from autoloss.core.need import Need


class Kernel(Signal[Tensor]):
    """[K] the mean over a loss's samples of ``||dr_i / dp||^2``, r_i the residuals; 0 for absent losses.

    It is the trace of the loss's neural tangent kernel over the number of its samples, as one random probe estimates
    it: its expectation is the trace, and its spread is of the same order where few directions dominate.
    """

    name = "kernel"
    need = Need.KERNEL
    cost = "a plain step and 2 K passes from the losses back to the parameters"
    passes = "2 K passes"
    steep = False

    def merged(self, values: Sequence[Tensor], window: MicroBatches) -> Tensor:
        """The mean over the window's samples."""
        return (window.shares * torch.stack(list(values))).sum(0)

    def drawn(self, drawn: Drawn) -> Tensor:
        return drawn.jacobian.flatten(2).square().sum(2) / drawn.losses


KERNEL = Kernel()

"""Adam on a buffer, with a step count for each loss."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.tensors.constants import constant
from autoloss.core.tensors.state import StateModule


class AdamState(StateModule):
    """Adam (Kingma and Ba, 2015) for one state tensor [K]; its moments are buffers of the weighting that owns it.

    The steps equal those of ``torch.optim.Adam``, which cannot be used here: it keeps one count for each tensor, so
    that a step of K losses with own counts would take K kernels. Here an absent loss takes no step, K losses take one
    kernel, and nothing waits for the device.
    """

    first_moment: Tensor
    second_moment: Tensor
    steps: Tensor

    def __init__(
        self, lr: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0, eps: float = 1e-8
    ) -> None:
        super().__init__()
        self.lr, self.betas, self.weight_decay, self.eps = lr, betas, weight_decay, eps

    def allocate(self, size: int, axes: int = 1) -> None:
        """Make the moments for ``size`` losses; with ``axes=0``, for ``size`` numbers that belong to no loss."""
        self.add_state("first_moment", torch.zeros(size), axes=axes)
        self.add_state("second_moment", torch.zeros(size), axes=axes)
        self.add_state("steps", torch.zeros(size), axes=axes)

    def step(self, value: Tensor, gradient: Tensor) -> None:
        """Take one step of descent: change ``value`` [K] in place by the ``gradient`` [K]."""
        self.advance(value, gradient, self.first_moment, self.second_moment, self.steps)

    def advance(
        self, value: Tensor, gradient: Tensor, first_moment: Tensor, second_moment: Tensor, steps: Tensor
    ) -> None:
        """The step of :meth:`step` on a ``value`` and moments that are given, such as copies of some rows."""
        first, second = self.betas
        gradient = gradient + self.weight_decay * value if self.weight_decay else gradient
        steps += 1
        first_moment.lerp_(gradient, 1 - first)
        second_moment.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        # Bias corrections in float64, as torch computes them on the host.
        betas = constant(self.betas, steps.device, torch.float64)
        first_rest, second_rest = (1 - betas[:, None] ** steps.double()).unbind()
        size = self.lr / first_rest
        denominator = second_moment / second_rest
        value -= (size * first_moment / (denominator.sqrt() + self.eps)).to(value.dtype)

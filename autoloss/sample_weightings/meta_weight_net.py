"""Meta-Weight-Net."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState


class MetaWeightNet(SampleWeighting):
    """Weighs each sample by a small network of its loss, which is learned from held-out data.

    ``w_i = V(l_i)``; V has one hidden layer of ReLU and a sigmoid. After each step Adam changes V to increase
    ``sum_i t_i V(l_i) / n``, with ``t_i = <grad L_held, grad l_i>`` held constant (eq. 5 to 7): to first order
    this is how much a small step down the weighted loss lowers the held-out loss. Weights are between 0 and 1,
    about a half at first, and are not scaled: raise the learning rate if that is too little.

    Args:
        lr: learning rate of V's Adam, above 0.
        width: hidden units, at least 1.
        decay: weight decay of V's parameters, at least 0.
        seed: of V's initial parameters.

    t is measured at the parameters before the step, in units of a running mean of |t|; the authors take a virtual
    step of plain SGD first and differentiate through it twice.
    """

    net: Tensor
    unit: Tensor
    needs = SampleNeed.LOSSES | SampleNeed.ALIGNMENT
    claims = frozenset({"at_most_one"})
    search_space = {"lr": Interval(1e-4, 1e-2, log=True)}
    use = "Wrong labels or rare classes, and some hundred samples that are known to be right and balanced."
    avoid = "Samples with equal losses need different weights: V sees the loss and nothing else."
    citation = "Shu et al.: Meta-Weight-Net, NeurIPS 2019, arXiv:1902.07379"

    def __init__(self, lr: float = 1e-3, width: int = 100, decay: float = 1e-4, seed: int = 0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(1 <= width <= 10**6, "`width` must lie between 1 and 1e6", f"width={width}")
        require(decay >= 0, "`decay` must be at least 0", f"decay={decay}")
        self.width, self.seed = width, seed
        self.adam = AdamState(lr, weight_decay=decay)

    def allocate(self, size: int) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        parts = [(2 * torch.rand(self.width, generator=generator) - 1) for _ in range(3)]
        parts[2] /= self.width**0.5
        self.add_state("net", torch.cat([*parts, torch.zeros(1)]))
        self.add_state("unit", torch.zeros(()))
        self.adam.allocate(len(self.net), axes=0)

    def forward(self, samples: Samples) -> Tensor:
        return self._weights(self.net, samples.losses)

    def update(self, samples: Samples) -> None:
        gain = samples.alignment.where(samples.present, 0.0)
        size = samples.mean(gain.abs())
        self.unit.copy_(torch.where(self.unit == 0, size, torch.lerp(self.unit, size, 0.05)))
        gain = gain / self.unit.clamp(min=torch.finfo(gain.dtype).tiny)
        with torch.enable_grad():
            net = self.net.detach().requires_grad_()
            surrogate = -samples.mean(gain * self._weights(net, samples.losses))
            (gradient,) = torch.autograd.grad(surrogate, net)
        self.adam.step(self.net, gradient)

    def _weights(self, net: Tensor, losses: Tensor) -> Tensor:
        into, shift, out, last = net.split([self.width, self.width, self.width, 1])
        hidden = torch.relu(losses[:, None].clamp(-1e4, 1e4) * into + shift)
        return torch.sigmoid(hidden @ out + last)

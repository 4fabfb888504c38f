"""From a measured Gram matrix to a well-scaled problem on the host, and back to K weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting

# Norms below this part of the largest count as zero gradients: they are rounding, not a direction.
SMALLEST = 1e-15
# Cosines shrink by this much, which is more than the rounding errors of a float32 Gram matrix.
SHRINK = 1e-6


@dataclass(frozen=True, slots=True)
class Prepared:
    """The M losses that take part in a solve: present, with a gradient that is not 0.

    ``cosines`` [M, M] are those between their gradients (diagonal 1), ``norms`` [M] the gradients'
    norms divided by ``scale``, so that their squares sum to 1. Both are float64 and on the host.
    ``index`` [M] says which of the K losses they are.
    """

    cosines: Tensor
    norms: Tensor
    scale: float
    index: Tensor

    @property
    def gram(self) -> Tensor:
        """The Gram matrix [M, M] divided by its trace."""
        return self.cosines * self.norms * self.norms[:, None]

    def definite(self) -> Tensor:
        """The cosines, shrunk by 1e-6 towards 0 so that they are safely positive definite.

        So there is one bounded solution for identical and opposite gradients too. Where rounding
        (float32, TF32) left an eigenvalue that is more negative than that, they shrink by as much as
        it takes.
        """
        identity = torch.eye(len(self.norms), dtype=torch.float64)
        shrunk = torch.lerp(self.cosines, identity, SHRINK / 2)
        if torch.linalg.cholesky_ex(shrunk).info == 0:
            return torch.lerp(self.cosines, identity, SHRINK)
        excess = max(0.0, -float(torch.linalg.eigvalsh(self.cosines)[0]))
        return torch.lerp(self.cosines, identity, (SHRINK + excess) / (1 + excess))

    def clip(self, weights: Tensor, max_norm: float) -> Tensor:
        """``weights`` [M] scaled down to where the weighted gradient has the norm ``max_norm``, if it is longer."""
        scaled = weights * self.norms * self.scale
        norm = max(0.0, float(scaled @ self.cosines @ scaled)) ** 0.5
        return weights * (max_norm / norm) if norm > max_norm else weights


def prepare(gram: Tensor, present: Tensor) -> Prepared | None:
    """Copy ``gram`` [K, K] to the host and scale it; ``None`` if it is not finite. Waits for the device, once."""
    host = torch.cat([gram.detach(), present[None].to(gram.dtype)]).cpu().double()
    gram, squares = host[:-1], host[:-1].diagonal()
    if not gram.isfinite().all():
        return None
    smallest = max(float(squares.amax()) * SMALLEST**2, torch.finfo(torch.float32).tiny)
    index = ((host[-1] > 0) & (squares > smallest)).nonzero()[:, 0]
    norms = squares[index].sqrt()
    cosines = gram[index][:, index] / (norms * norms[:, None])
    cosines = ((cosines + cosines.T) / 2).clamp(-1, 1).fill_diagonal_(1.0)
    scale = float(norms.norm()) or 1.0
    return Prepared(cosines, norms / scale, scale, index)


class GramWeighting(Weighting):
    """A weighting that solves a small problem on the Gram matrix; subclasses write :meth:`solve`.

    The solve runs on the host, so that each step waits once for the device. A loss whose gradient
    is 0 takes no part and has the weight 1: with it, methods that seek a common descent direction
    would find none and freeze the model. If all gradients are 0, all weights are 1. A Gram matrix
    that is not finite gives NaN weights, so that the step reports it.
    """

    needs = Need.VALUES | Need.GRAM

    @abstractmethod
    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        """The weights [M] of the losses that take part."""

    def forward(self, signals: Signals) -> Tensor:
        weights = torch.ones(len(signals.names))
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            prepared = prepare(signals.gram, signals.present)
            if prepared is None:
                weights.fill_(torch.nan)
            elif len(prepared.index):
                weights[prepared.index] = self.solve(prepared, signals).float()
        return weights.to(signals.values.device, non_blocking=True)

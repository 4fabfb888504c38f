"""Sigmoid weights of noise levels: a weighted bound on the likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.space import Interval
from autoloss.sample_weightings._noise import NoiseWeighting


class Sigmoid(NoiseWeighting):
    """Weighs the error of the noise with ``sigmoid(bias - log SNR)``, ``SNR = 1 / level^2``.

    A weight that falls with SNR makes the loss a variational bound on the likelihood of data with noise added. For
    x0 it is ``SNR e^bias / (SNR + e^bias)``: a soft min-SNR with ``gamma = e^bias``.

    The paper's weight is for levels drawn evenly in log SNR. Others count by how often they are drawn as well: divide
    by their density (``given``), or leave it, as most do.

    Args:
        bias: any number; larger gives more weight to little noise. The paper takes 2.
        target: what the network predicts: ``epsilon``, ``x0`` or ``v``; by default what the problem says, and
            ``epsilon`` where it says nothing.
        key: the data's key of the levels: EDM's sigma, or ``sigma_t / alpha_t``.
    """

    search_space = {"bias": Interval(-4.0, 4.0)}
    use = "As min_snr, smooth; a bound on the likelihood with less weight on what cannot be seen."
    avoid = "The likelihood itself is wanted: then all levels, drawn evenly in log SNR, count alike. The network \
predicts x0: on digits_diffusion it then did harm."
    citation = "Kingma, Gao: Understanding diffusion objectives as the ELBO, NeurIPS 2023, arXiv:2303.00848"

    def __init__(self, bias: float = 2.0, target: str | None = None, key: str = "level") -> None:
        super().__init__(target, key)
        require(abs(bias) <= 40, "`bias` must lie between -40 and 40", f"bias={bias}")
        self.bias = bias

    def signal_weight(self, level: Tensor) -> Tensor:
        ratio = -2 * level.log()
        # SNR sigmoid(b - log SNR) = e^b sigmoid(log SNR - b), which cannot overflow.
        return torch.exp(torch.full_like(ratio, self.bias)) * torch.sigmoid(ratio - self.bias)

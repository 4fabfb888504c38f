"""Min-SNR weights of noise levels."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.space import Interval
from autoloss.sample_weightings._noise import NoiseWeighting


class MinSnr(NoiseWeighting):
    """Weighs the error of x0 with ``min(SNR, gamma)``, ``SNR = 1 / level^2``, so that little noise does not dominate.

    For a network that predicts the noise this is ``min(1, gamma / SNR)``, for v ``min(SNR, gamma) / (SNR + 1)``.

    Args:
        gamma: above 0; 5 in the paper.
        target: what the network predicts: ``epsilon``, ``x0`` or ``v``; by default what the problem says, and
            ``epsilon`` where it says nothing.
        key: the data's key of the levels: EDM's sigma, or ``sigma_t / alpha_t``.
    """

    search_space = {"gamma": Interval(0.5, 20.0, log=True)}
    use = "A diffusion model that predicts the noise, or v at EDM's levels: what the picture shows is learned sooner."
    avoid = "The network predicts x0, or v with the cosine schedule, whose plain loss favours contents already: on \
digits_diffusion it then did harm."
    citation = "Hang et al.: Efficient diffusion training via min-SNR weighting, ICCV 2023, arXiv:2303.09556"

    def __init__(self, gamma: float = 5.0, target: str | None = None, key: str = "level") -> None:
        super().__init__(target, key)
        require(gamma > 0, "`gamma` must be above 0", f"gamma={gamma}")
        self.gamma = gamma

    def signal_weight(self, level: Tensor) -> Tensor:
        return (1 / level.square()).clamp(max=self.gamma)

"""P2 weights of noise levels."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.space import Interval
from autoloss.sample_weightings._noise import NoiseWeighting


class P2(NoiseWeighting):
    """Weighs the error of the noise with ``1 / (k + SNR)^gamma``, ``SNR = 1 / level^2``: less where noise is little.

    gamma = 0 is the plain loss of the noise.

    Args:
        gamma: at least 0; 0.5 or 1 in the paper.
        k: above 0: the weight's bound where there is much noise is ``k^-gamma``.
        target: what the network predicts: ``epsilon``, ``x0`` or ``v``; by default what the problem says, and
            ``epsilon`` where it says nothing.
        key: the data's key of the levels: EDM's sigma, or ``sigma_t / alpha_t``.
    """

    search_space = {"gamma": Interval(0.0, 2.0), "k": Interval(0.1, 10.0, log=True)}
    use = "A diffusion model that predicts the noise, or v; contents that matter more than fine grain. On \
digits_diffusion it halved the errors."
    avoid = "Sharp details or likelihoods are wanted."
    citation = "Choi et al.: Perception prioritized training of diffusion models, CVPR 2022, arXiv:2204.00227"

    def __init__(self, gamma: float = 1.0, k: float = 1.0, target: str | None = None, key: str = "level") -> None:
        super().__init__(target, key)
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        require(k > 0, "`k` must be above 0", f"k={k}")
        self.gamma, self.k = gamma, k

    def signal_weight(self, level: Tensor) -> Tensor:
        ratio = 1 / level.square()
        return ratio * (self.k + ratio) ** -self.gamma

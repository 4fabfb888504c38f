"""EDM's weights of noise levels."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.space import Interval
from autoloss.sample_weightings._noise import NoiseWeighting


class Edm(NoiseWeighting):
    """Weighs the error of x0 with ``(s^2 + data^2) / (s data)^2``, s the level: 1 for what EDM's network predicts.

    With it the loss is about 1 at every level before training, and levels count by how often they are drawn.

    Args:
        data: the standard deviation of the data, above 0; 0.5 in the paper.
        target: what the network predicts: ``epsilon``, ``x0`` (EDM's denoiser) or ``v``; by default what the problem
            says, and ``x0`` where it says nothing.
        key: the data's key of the levels: EDM's sigma, or ``sigma_t / alpha_t``.
    """

    usual = "x0"
    search_space = {"data": Interval(0.1, 2.0, log=True)}
    use = "EDM: a denoiser with its scaled input and output, and levels drawn from a log-normal distribution."
    avoid = "The network predicts x0 without EDM's scaling, or the noise: little noise then counts far too much, and \
digits_diffusion makes no digits."
    citation = "Karras, Aittala, Aila, Laine: Elucidating the design space, NeurIPS 2022, arXiv:2206.00364"

    def __init__(self, data: float = 0.5, target: str | None = None, key: str = "level") -> None:
        super().__init__(target, key)
        require(data > 0, "`data` must be above 0", f"data={data}")
        self.data = data

    def signal_weight(self, level: Tensor) -> Tensor:
        return 1 / level.square() + 1 / self.data**2

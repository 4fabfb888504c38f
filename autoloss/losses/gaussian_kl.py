"""The Kullback-Leibler divergence between normal distributions, as in a variational autoencoder."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._bounded import bounded
from autoloss.losses._shapes import halves, same_shape

SMALLEST = -30.0  # of a log-variance: float32 resolves nothing smaller


class GaussianKl(Loss):
    """``sum_d max(KL_d, free_bits)``, ``KL_d = (s' - s + (e^s + (m - m')^2) e^-s' - 1) / 2``: [B, 2D] each -> [B].

    The divergence of the prediction N(m, e^s) from the target N(m', e^s'); both hold means in the first
    half of their second dimension and log-variances in the other. A target of zeros is N(0, 1). Sum
    over everything but the samples, as in the evidence lower bound.

    Args:
        free_bits: the divergence (in nats) below which a latent's loss is constant, at least 0; keeps
            latents in use.
    """

    takes = ("normals",)
    search_space = {"free_bits": Interval(0.0, 1.0)}
    unlearnable = ("free_bits",)
    use = "The latent of a variational autoencoder; warm it up (weighting=scheduled, cyclical)."
    avoid = "A weighting would balance it: its base weight has a meaning of its own (name it in `unbalanced`)."
    outliers = "Quadratic in the mean: a latent far out costs its square."
    imbalance = "Latents count equally; free_bits keeps the weak ones in use."
    gradients = "Linear in the mean, exponential in the log-variance; 0 in latents below free_bits."
    citation = "Kingma, Welling: Auto-encoding variational Bayes, ICLR 2014; free bits: Kingma et al., arXiv:1606.04934"

    def __init__(self, free_bits: float = 0.0) -> None:
        super().__init__()
        require(free_bits >= 0, "`free_bits` must be at least 0", f"free_bits={free_bits}")
        self.free_bits = free_bits

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        mean, spread = halves(prediction, "A prediction of gaussian_kl")
        prior_mean, prior_spread = halves(target, "A target of gaussian_kl")
        spread, prior_spread = (bounded(x, SMALLEST, -SMALLEST) for x in (spread, prior_spread))
        divergence = (spread - prior_spread).exp() + (mean - prior_mean).square() * (-prior_spread).exp()
        divergence = 0.5 * (divergence + prior_spread - spread - 1)
        if self.free_bits > 0:
            divergence = divergence.clamp(min=self.free_bits)
        return divergence.flatten(1).sum(1)

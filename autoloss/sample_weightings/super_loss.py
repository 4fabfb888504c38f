"""SuperLoss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.sample_weightings._level import Levelled


class SuperLoss(Levelled):
    """Weighs each sample with its confidence s: ``min_s (l - tau) s + lam (log s)^2``.

    ``s = exp(-W(max(-2 / e, (l - tau) / lam) / 2))``, W the principal branch of Lambert's function (eq. 5). It is 1 at
    ``l = tau``, larger for easier samples and at most e, smaller for harder ones and above 0. Since s minimises
    this, the gradient of the minimum is s times that of the loss: weighing with a constant s is exact.
    The value that is recorded is ``s l`` and not ``(l - tau) s + lam (log s)^2``, whose gradient is the same.

    Args:
        tau: the loss of a sample that is neither easy nor hard, as log C for C classes; the losses' moving mean
            if it is not given.
        lam: above 0; larger is closer to uniform weights.
        decay: of the moving mean over steps, in [0, 1).
    """

    claims = frozenset({"non_increasing"})
    search_space = {"lam": Interval(0.1, 10.0, log=True)}
    use = "Noisy labels or a curriculum with one parameter; any loss, regression and detection too."
    avoid = "Hard samples are the ones that matter: rare classes, detection's few objects."
    citation = "Castells, Weinzaepfel, Revaud: SuperLoss, NeurIPS 2020"

    def __init__(self, tau: float | None = None, lam: float = 1.0, decay: float = 0.9) -> None:
        super().__init__(decay)
        require(tau is None or math.isfinite(tau), "`tau` must be finite", f"tau={tau}")
        require(lam > 0, "`lam` must be above 0", f"lam={lam}")
        self.tau, self.lam = tau, lam

    def now(self, samples: Samples) -> Tensor:
        return samples.mean(samples.losses)

    def forward(self, samples: Samples) -> Tensor:
        tau = self.level(samples) if self.tau is None else self.tau
        return torch.exp(-lambert((samples.losses - tau) / (2 * self.lam)))


def lambert(x: Tensor) -> Tensor:
    """W(x), the solution of ``w e^w = x`` from -1 upwards; ``x`` below -1/e counts as -1/e.

    Halley's iteration in float64, from the series at the branch point and from a bound (Iacono, Boyd, 2017)
    for positive numbers: float32's precision is reached everywhere.

    >>> lambert(torch.tensor([1.0, 0.0, -1.0]))
    tensor([ 0.5671,  0.0000, -1.0000])
    """
    z = x.double().clamp(-1 / math.e, 1e300)
    root = (2 * (math.e * z + 1).clamp(min=0)).sqrt()
    far = torch.log1p(z.clamp(min=0))
    near = root * (1 + root * (root * (11 / 72) - 1 / 3)) - 1
    w = torch.where(z < 0, near, far * (1 - torch.log1p(far) / (2 + far)))
    for _ in range(3):
        e = w.exp()
        error, beyond = w * e - z, (w + 1).clamp(min=1e-9)
        w = w - error / (e * beyond - (beyond + 1) * error / (2 * beyond))
    # At the branch point itself the slope is 0.
    return w.where(x > -1 / math.e, -1.0).to(x.dtype)

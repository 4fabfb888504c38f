"""Nash-MTL, by TorchJD."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torchjd.aggregation import NashMTL

from autoloss import require
from autoloss_torchjd.gramian import Gramian

# The solver starts at 1 each: where some gradient is against the sum, it gets away from there only with large numbers.
SCALE = 1e3


class NashMtl(Gramian):
    """Finds w > 0 with ``(G w)_k = 1 / w_k``, the Nash bargaining solution; w scales like ``1 / |g|``.

    TorchJD wants the gradients but uses their Gram matrix and the norm of the weighted sum: it is
    given the symmetric root of the Gram matrix, which has both. TorchJD goes on from its last
    solution; here each step starts anew, since there is one solution and a checkpoint would miss
    it. Its ``update_weights_every`` is the wrapper ``every_n``, which measures nothing in between either.

    Args:
        max_norm: largest norm of the weighted sum of the gradients at the anchor; 0 for none. The
            solution's own norm is the root of K.
        optim_niter: iterations of the convex-concave procedure, at least 1.
    """

    # The scale is the method's own: taken out and put back.
    rescaled = False
    use = "Losses of unlike scale that should all keep improving in proportion."
    avoid = "Every step must be cheap: up to optim_niter cone programs (wrap it in every_n)."
    citation = "Navon et al.: Multi-task learning as a bargaining game, ICML 2022, arXiv:2202.01017"

    def __init__(self, max_norm: float = 1.0, optim_niter: int = 20) -> None:
        super().__init__()
        require(max_norm >= 0, "`max_norm` must be at least 0", f"max_norm={max_norm}")
        require(optim_niter >= 1, "`optim_niter` must be at least 1", f"optim_niter={optim_niter}")
        self.max_norm, self.optim_niter = max_norm, optim_niter
        self._solver(1)

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        weights = gram.new_ones(len(here))
        # Who has no gradient gains nothing by any step, and the product of gains would stay 0.
        gains = gram.diagonal() > 0
        if gains.any():
            weights[gains] = self._bargain(gram[gains][:, gains])
        return weights

    def _bargain(self, gram: Tensor) -> Tensor:
        by = SCALE / gram.diagonal().mean()
        values, vectors = torch.linalg.eigh(gram * by)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        # cvxpy cannot state the problem for one loss, and there is nothing to bargain about.
        if len(gram) == 1:
            norm = self.max_norm if 0 < self.max_norm < 1 else 1.0
            return norm * gram.diagonal().rsqrt()
        with warnings.catch_warnings():
            # cvxpy says at every step that it cannot reuse the last problem, or that the last digits are missing.
            warnings.filterwarnings("ignore", message=".*(not DPP|may be inaccurate).*")
            return self._solver(len(gram))(root) * by.sqrt()

    def _solver(self, size: int) -> torch.nn.Module:
        return self.made(lambda: NashMTL(size, self.max_norm, 1, self.optim_niter).weighting)

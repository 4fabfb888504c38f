"""Independent component alignment."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

SCALES = ("min", "median", "rmse")


class AlignedMtl(GramWeighting):
    """Makes the gradients orthogonal and of one length, changing them as little as possible, and adds them up.

    With ``G = V diag(s) V^T``, ``w = sqrt(scale) V diag(s)^(-1/2) V^T 1``, over the eigenvalues that are not 0:
    as many as those of the cosines above ``tolerance`` times the largest, so that a gradient may be short. In the
    directions that are left out gradients cancel. There the factor is 1, which changes their weights and not their
    weighted sum. Equally long orthogonal gradients have weights of 1; the sum of the weights is not fixed.

    Args:
        scale: the squared length that all have afterwards: the ``min`` eigenvalue (paper), the ``median``
            one, or their mean (``rmse``).
        tolerance: in (0, 1), relative to the largest eigenvalue of the cosines between the gradients; the least
            that float32 resolves is about 1e-7 K. With ``min`` the step may be shorter by the root of this.

    The preference is 1 for each loss, as in the official code; TorchJD has 1 / K. A weight may be
    negative: a head that only that loss trains then raises it. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"scale": Choice(SCALES)}
    use = "Losses of different scales that conflict."
    avoid = "Gradients are nearly parallel and scale=min: the step becomes short."
    citation = "Senushkin et al.: Independent component alignment for multi-task learning, CVPR 2023, arXiv:2305.19000"

    def __init__(self, scale: str = "min", tolerance: float = 1e-6) -> None:
        super().__init__()
        require(scale in SCALES, f"`scale` must be one of {', '.join(SCALES)}", f"it is {scale!r}")
        require(0 < tolerance < 1, "`tolerance` must lie in (0, 1)", f"tolerance={tolerance}")
        self.scale, self.tolerance = scale, tolerance

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        angles, axes = torch.linalg.eigh(prepared.cosines)
        kept = angles > self.tolerance * angles[-1]
        # G = rows rows^T, of the rank of the cosines: an eigenvalue of G itself is small where a gradient is short.
        rows = prepared.norms[:, None] * axes[:, kept] * angles[kept].sqrt()
        vectors, lengths, _ = torch.linalg.svd(rows, full_matrices=False)
        values = lengths.square()
        target = {"min": values.amin(), "median": values.median(), "rmse": values.mean()}[self.scale]
        # Directions in which the gradients cancel add nothing to d; with a factor of 0 their heads would not learn.
        return 1 + vectors @ ((target.sqrt() / lengths - 1) * vectors.sum(0))

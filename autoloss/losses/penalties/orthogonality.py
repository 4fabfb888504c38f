"""A penalty that keeps weight matrices close to orthogonal ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.penalty import Penalty, at_least_float32


class Orthogonality(Penalty):
    """``sum_W ||W^T W - I||_F^2`` over the matrices W -> scalar; for wide ones ``||W W^T - I||_F^2``.

    A wide matrix cannot have orthonormal columns: its rows are made so. Kernels of convolutions
    [out, in, ...] are matrices [out, in * ...]; vectors (biases, scales) take no part.

    >>> Orthogonality()([2 * torch.eye(3)])
    tensor(27.)
    """

    use = "Deep or recurrent networks whose signals must neither grow nor vanish; GAN generators (BigGAN)."
    avoid = "Layers whose scale is meant to be learned: it fixes all singular values at 1."
    citation = "Brock et al.: Neural photo editing, ICLR 2017, arXiv:1609.07093; Bansal et al., NeurIPS 2018"

    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        matrices = [p.flatten(1) for p in at_least_float32(parameters) if p.dim() > 1]
        found = f"the shapes are {[list(p.shape) for p in parameters]}"
        require(len(matrices) > 0, "orthogonality needs a matrix among the parameters", found)
        return torch.stack([_distance(matrix) for matrix in matrices]).sum()


def _distance(matrix: Tensor) -> Tensor:
    tall = matrix if len(matrix) >= matrix.shape[1] else matrix.T
    with torch.autocast(tall.device.type, enabled=False):  # it would multiply in half precision
        gram = tall.T @ tall
    return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum()

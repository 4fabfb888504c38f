"""The total variation of a predicted image."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss


class TotalVariation(Loss):
    """``mean |dx| + mean |dy|`` of the differences between neighbouring pixels: [B, ..., H, W] -> [B].

    The isotropic form is ``mean sqrt(dx^2 + dy^2 + eps^2)`` over the pixels that have both. The
    target is not used. Usually combined: ``losses.image=[mse,total_variation]``.

    Args:
        isotropic: take the length of the gradient instead of its two parts.
        eps: makes that length differentiable at 0; above 0, in the image's units.
    """

    takes = ("images",)
    use = "Images that are smooth except at edges: denoising, deblurring, depth, segmentation logits."
    avoid = "Fine texture is wanted: this loss removes it."
    outliers = "A single wrong pixel costs its height at each side, so that it is smoothed away."
    imbalance = "Edges count by their height and length; flat regions cost nothing."
    gradients = "Signs of the differences: they do not shrink with the differences (isotropic: they do below eps)."
    citation = "Rudin, Osher, Fatemi: Nonlinear total variation based noise removal, Physica D 1992"

    def __init__(self, isotropic: bool = False, eps: float = 1e-3) -> None:
        super().__init__()
        require(eps > 0, "`eps` must be above 0", f"eps={eps}")
        self.isotropic, self.eps = isotropic, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        require(
            prediction.dim() >= 3 and prediction.shape[-1] > 1 and prediction.shape[-2] > 1,
            "total_variation takes images [B, ..., H, W] of at least 2 x 2 pixels",
            f"the prediction is {list(prediction.shape)}",
        )
        across, down = prediction.diff(dim=-1), prediction.diff(dim=-2)
        if self.isotropic:
            across, down = across[..., :-1, :], down[..., :-1]
            return (across.square() + down.square() + self.eps**2).sqrt().flatten(1).mean(1)
        return across.abs().flatten(1).mean(1) + down.abs().flatten(1).mean(1)

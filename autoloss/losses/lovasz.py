"""The Lovász extension of intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.loss import Loss
from autoloss.losses._labels import binary_labels
from autoloss.losses._overlap import areas
from autoloss.losses._shapes import flat


class Lovasz(Loss):
    """``<m, dJ>``: m are the pixels' errors, largest first; dJ is how much each raises ``1 - IoU`` -> [B].

    Lovász-softmax for logits [B, C, ...] with classes [B, ...]: m is ``|g - p|``, mean over the
    classes that the sample has. Lovász hinge for logits and 0/1 targets of one shape: m is
    ``max(0, 1 - f (2 g - 1))``. Both for each image. For hard predictions it is exactly ``1 - IoU``
    (softmax form).

    Args:
        ignore_index: a label whose pixels are left out (softmax form); none by default.
    """

    takes = ("pixels", "classes", "binary")
    use = "The last part of a segmentation's training, where intersection over union counts."
    avoid = "The start of training (cross_entropy first, or combine them); large images cost a sort for each class."
    outliers = "The largest errors come first, with the largest weight."
    imbalance = "The classes in an image count equally; absent ones do not count."
    gradients = "Uneven: most of them go to the worst pixels of a region."
    citation = "Berman, Triki, Blaschko: The Lovász-softmax loss, CVPR 2018, arXiv:1705.08790"

    def __init__(self, ignore_index: int | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() != target.dim() + 1:
            score, truth = (flat(x) for x in binary_labels(self, prediction, target))
            return _extension((1 - score * (2 * truth - 1)).clamp(min=0), truth)
        probability, truth, _ = areas(self, prediction, target, self.ignore_index)
        here = truth.amax(2)
        return (here * _extension((truth - probability).abs(), truth)).sum(1) / here.sum(1).clamp(min=1)


def _extension(errors: Tensor, truth: Tensor) -> Tensor:
    """``<m, dJ>`` over the last dimension."""
    ordered, order = errors.sort(dim=-1, descending=True)
    found = truth.gather(-1, order)
    total = found.sum(-1, keepdim=True)
    missed = total - found.cumsum(-1)
    union = total + (1 - found).cumsum(-1)
    index = 1 - missed / union.clamp(min=1e-7)
    return (ordered * torch.diff(index, dim=-1, prepend=torch.zeros_like(index[..., :1]))).sum(-1)

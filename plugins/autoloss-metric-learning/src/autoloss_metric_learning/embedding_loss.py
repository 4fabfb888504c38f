"""Takes a loss of pytorch-metric-learning apart into one value for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pytorch_metric_learning.losses.base_metric_loss_function import BaseMetricLossFunction
from pytorch_metric_learning.reducers import AvgNonZeroReducer, DivisorReducer, DoNothingReducer, MeanReducer
from torch import Tensor

from autoloss import ConfigError, Loss


class EmbeddingLoss(Loss):
    """Compares embeddings [B, D] with labels [B] (integers): the share of each sample in the library's value, [B].

    The library has a value for each pair or triplet and divides their sum by a number of its own:
    all of them, those above 0, or another divisor. A sample's value is the sum of those that it
    is the anchor of, times B over that number, so that **the mean over samples is the library's value**
    and its gradient the library's. Where the library has only one value for the batch, or one
    for each class (``anchored = False``), every sample gets that value.

    Samples with a negative label are nobody's pair and have the value 0; masked samples get such a
    label before the loss. Pairs are those of one rank's batch. Everything is computed in float32 at least.
    """

    takes = ("embeddings",)
    absent = -1
    paired = True
    anchored: ClassVar[bool] = True

    def __init__(self, library: BaseMetricLossFunction) -> None:
        super().__init__()
        reducer = type(library.get_default_reducer())
        if reducer not in (MeanReducer, AvgNonZeroReducer, DivisorReducer):
            raise ConfigError(
                f"A loss must take a mean by MeanReducer, AvgNonZeroReducer or DivisorReducer, but "
                f"{type(library).__name__} takes it by {reducer.__name__}."
            )
        self.mean = reducer
        library.reducer = DoNothingReducer()
        self.library = library

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() != 2 or target.shape != prediction.shape[:1] or target.is_floating_point():
            raise ConfigError(
                f"{type(self).__name__} compares embeddings [B, D] with integer labels [B], but the prediction is "
                f"{list(prediction.shape)} and the target {list(target.shape)} in {target.dtype}."
            )
        embeddings = prediction if prediction.dtype == torch.float64 else prediction.float()
        labelled = (target >= 0).nonzero().flatten()
        # Without a pair there is still a graph: a loss that does not reach the anchor would count as unbalanced.
        values = embeddings.sum(1) * 0
        if len(labelled):
            # In half precision the library's exponents overflow.
            with torch.autocast(prediction.device.type, enabled=False):
                parts = self.library(embeddings[labelled], target[labelled])
            for part in parts.values():
                values = self._add(values, part, labelled)
        return values

    def _add(self, values: Tensor, part: Mapping[str, Any], labelled: Tensor) -> Tensor:
        losses, indices, kind = part["losses"], part["indices"], part["reduction_type"]
        if not isinstance(losses, Tensor):
            return values + losses
        if kind == "already_reduced":
            return values + losses.reshape(())
        losses = losses.reshape(len(losses))  # some are [n, 1]
        if self.mean is AvgNonZeroReducer:
            above = losses > 0
            losses, number = losses.where(above, 0.0), above.sum()
        else:
            number = torch.as_tensor(part["divisor"] if self.mean is DivisorReducer else len(losses))
        losses = losses / number.clamp(min=1).to(losses)
        if not self.anchored:
            return values + losses.sum()
        anchors = indices if kind == "element" else indices[0]
        return values.index_add(0, labelled[anchors], losses * len(values))

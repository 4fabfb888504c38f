"""Logs a problem's metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor


def log_means(module: pl.LightningModule, split: str, metrics: Mapping[str, Tensor]) -> None:
    """Log the mean over a split's values of each metric, of which a batch has the values [at most B]."""
    for name, values in metrics.items():
        # Lightning weighs a batch's mean by its number of values: 0 where a metric has none here.
        number = values.numel()
        mean = values.float().mean() if number else torch.zeros((), device=values.device)
        module.log(f"{split}/{name}", mean, on_step=False, on_epoch=True, batch_size=number, sync_dist=True)

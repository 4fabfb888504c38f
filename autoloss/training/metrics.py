"""Logs a problem's metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor


def log_means(module: pl.LightningModule, split: str, metrics: Mapping[str, Tensor]) -> None:
    """Log the mean over a split's values of each metric, of which a batch has the values [at most B]."""
    for name, values in metrics.items():
        log_mean(module, f"{split}/{name}", values.float().sum(), values.numel())


def log_mean(module: pl.LightningModule, tag: str, total: Tensor, number: int) -> None:
    """Log ``total / number`` of a batch under ``tag``, which then is a mean over all values of all batches."""
    # Lightning weighs a batch's mean by its number of values: 0 where there are none here.
    mean = total / number if number else torch.zeros((), device=total.device)
    module.log(tag, mean, on_step=False, on_epoch=True, batch_size=number, sync_dist=True)

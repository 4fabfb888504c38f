"""The gradient scaler of a float16 training, if the Trainer has one."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer


def loss_scale(trainer: pl.Trainer, device: torch.device) -> Tensor | None:
    """The scaler's factor of the losses, a scalar; ``None`` without a scaler."""
    scaler = _scaler(trainer)
    return None if scaler is None else scaler.scale(torch.ones((), dtype=torch.float32, device=device))


def will_step(trainer: pl.Trainer, optimizer: Optimizer) -> Tensor | None:
    """Whether the scaler found every gradient finite, a bool scalar; ``None`` without a scaler."""
    scaler = _scaler(trainer)
    if scaler is None:
        return None
    # The scaler has no public method for this that does not wait for the device.
    found = scaler._per_optimizer_states[id(optimizer)]["found_inf_per_device"].values()
    return torch.stack([bad.reshape(()) == 0 for bad in found]).all() if found else None


def _scaler(trainer: pl.Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)

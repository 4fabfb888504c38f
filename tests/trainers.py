"""Trainers that write nothing and print nothing."""

from typing import Any

import pytorch_lightning as pl

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def quiet_trainer(**flags: Any) -> pl.Trainer:
    """A Trainer on the CPU with further ``flags``."""
    return pl.Trainer(accelerator="cpu", **QUIET, **flags)

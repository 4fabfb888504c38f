"""Asserts that a training that was interrupted goes on to the same end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from autoloss.app.train_one import train

ENDS_AT = 2  # the epoch whose beginning is not reached the first time


class _Stop(pl.Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == ENDS_AT:
            raise RuntimeError("pulled the plug")


def checkpoint_of(directory: Path) -> dict[str, Any]:
    """The last checkpoint of the run in ``directory``."""
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)


def equals_uninterrupted(settings: Mapping[str, Any], directory: Path) -> Path:
    """Train with ``settings`` at once, and interrupted and resumed; where the first of the two was trained.

    The state and the trajectory are the same to the last bit.
    """
    whole, broken = directory / "whole", directory / "broken"
    train(settings, whole)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        train(settings, broken, callbacks=[_Stop()])
    assert not (broken / "summary.json").exists()
    train(settings, broken, checkpoint=broken / "checkpoints/last.ckpt")
    one, other = checkpoint_of(whole)["state_dict"], checkpoint_of(broken)["state_dict"]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (whole / "trajectory.csv").read_text() == (broken / "trajectory.csv").read_text()
    return whole

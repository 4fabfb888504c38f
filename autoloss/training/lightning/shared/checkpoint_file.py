"""Checkpoints that are whole or not there, and hold no code."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from autoloss.core.errors import ConfigError, first_line
from autoloss.core.io.files import whole


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain values alone.

    Lightning's own is written to the system's temporary directory and then moved: on another file system that is a
    copy, of which a killed process leaves half. What Lightning unpickles depends on an environment variable.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with whole(Path(path), "wb", alone=True) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:
            # The bytes of a stranger's file raise whatever they like.
            what = first_line(error).rstrip(".")
            raise ConfigError(
                f"A checkpoint must be whole and hold nothing but tensors and plain values, but {str(path)!r} does "
                f"not load: {what}. Take one that autoloss has written."
            ) from error
        if not isinstance(found, dict) or not {"state_dict", "loops", "optimizer_states"} <= set(found):
            raise ConfigError(
                f"A checkpoint must hold a training that can go on, but {str(path)!r} does not. "
                "Take one that autoloss has written."
            )
        return found

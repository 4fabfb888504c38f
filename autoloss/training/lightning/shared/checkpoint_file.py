"""Reads and writes checkpoints: a file is complete or absent, and holds no code."""

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
    """Writes a checkpoint beside its place and renames it; reads tensors and plain values only.

    Lightning's own plugin writes to the system's temporary directory and moves the file. Between file systems a move
    is a copy, and a killed process leaves half a file. An environment variable decides what Lightning unpickles.
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
            # Unknown bytes may raise any exception.
            what = first_line(error).partition(". ")[0].rstrip(".")  # torch then advises to load what is not safe
            raise ConfigError(
                f"A checkpoint must be complete and hold only tensors and plain values, but {str(path)!r} does "
                f"not load: {what}. Use one that autoloss has written."
            ) from error
        if not isinstance(found, dict) or not {"state_dict", "loops", "optimizer_states"} <= set(found):
            raise ConfigError(
                f"A checkpoint must hold the state of a training, but {str(path)!r} does not. "
                "Use one that autoloss has written."
            )
        return found

"""Shows samples: what a generator draws, or what a network makes of validation data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from PIL import Image, ImageDraw
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from autoloss.core.io.files import whole
from autoloss.training.lightning.run_module import RunModule
from autoloss.training.record.unwritten import Unwritten

SMALLEST = 48  # pixels at the side of an image, below which it is enlarged
TITLED = 100  # the same for columns with titles, so that there is room for a word
LINE = 18  # pixels of a title's line
PICTURES = 10


class SampleGrid(pl.Callback):
    """Writes the pictures of a module's ``gallery`` as one grid to TensorBoard and as ``samples.png``.

    TensorBoard gets about ten grids in a training, each after a validation; the file, which the page of the run shows,
    has the last one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self._unwritten = directory, Unwritten(directory)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not isinstance(pl_module, RunModule) or trainer.sanity_checking or not trainer.is_global_zero:
            return
        epochs = trainer.max_epochs or 0
        stride = trainer.check_val_every_n_epoch or 1
        number = (trainer.current_epoch + 1) // stride
        last = trainer.current_epoch + 1 + stride > epochs or trainer.state.fn != "fit"
        if not last and number % max(1, epochs // stride // PICTURES):
            return
        shown = pl_module.gallery()
        if shown is None:
            return
        picture = grid(shown.images, shown.titles)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", picture, pl_module.clock.step, dataformats="HWC")
        with self._unwritten.taken(), whole(self.directory / "samples.png", "wb") as file:
            Image.fromarray(picture.numpy()).save(file, format="PNG")


def grid(images: Tensor, titles: Sequence[str] = ()) -> Tensor:
    """One picture [H, W, 3] of bytes from images [rows, columns, h, w] or [rows, columns, 3, h, w] in [0, 1].

    Small images are enlarged, each pixel to a square; dark lines separate the images. ``titles`` of the columns are
    written above them.
    """
    images = images.detach().float().cpu()
    if images.dim() == 4:
        images = images.unsqueeze(2).expand(-1, -1, 3, -1, -1)
    larger = max(1, -(-(TITLED if titles else SMALLEST) // images.shape[-1]))
    images = images.repeat_interleave(larger, 3).repeat_interleave(larger, 4)
    bordered = torch.nn.functional.pad(images, (0, 2, 0, 2), value=0.25)
    rows, columns, channels, height, width = bordered.shape
    picture = bordered.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    picture = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return torch.cat([_heading(titles, width, columns), picture]) if titles else picture


def _heading(titles: Sequence[str], width: int, columns: int) -> Tensor:
    """A strip [LINE, columns * width, 3] of bytes with a title above each column."""
    strip = Image.new("RGB", (columns * width, LINE), "white")
    drawn = ImageDraw.Draw(strip)
    for column, title in enumerate(titles):
        drawn.text((column * width + 3, 3), title, fill="black")
    return torch.frombuffer(bytearray(strip.tobytes()), dtype=torch.uint8).view(LINE, columns * width, 3)

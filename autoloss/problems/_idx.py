"""Reads idx files, the format of MNIST and similar data sets."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require

FILES = {"train": "train", "test": "t10k"}


def read_idx(directory: Path, name: str) -> Tensor:
    """The array of bytes in ``directory/name``, plain or compressed (``.gz``), as uint8."""
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            good = len(data) > 4 and data[:3] == b"\0\0\x08"
            require(good, "An idx file must hold unsigned bytes", f"{path} does not begin like one")
            shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
            start, size = 4 + 4 * len(shape), int(torch.tensor(shape).prod())
            held = len(data) - start
            require(held == size, f"An idx file of {shape} must hold {size} bytes", f"{path} holds {held}")
            return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start).view(shape)
    raise ConfigError(
        f"problem.directory must hold idx files, but neither {directory / name} nor the same with .gz is there. Put "
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte in it."
    )


def images_and_labels(directory: Path, split: str) -> tuple[Tensor, Tensor]:
    """The images [N, H, W] and labels [N] of ``train`` or ``test``."""
    images = read_idx(directory, f"{FILES[split]}-images-idx3-ubyte")
    labels = read_idx(directory, f"{FILES[split]}-labels-idx1-ubyte").long()
    require(images.dim() == 3, "Images must be [N, H, W]", f"{directory} has {list(images.shape)}")
    alike = len(images) == len(labels) and len(images) > 0
    require(alike, "There must be as many labels as images", f"there are {len(labels)} for {len(images)}")
    return images, labels

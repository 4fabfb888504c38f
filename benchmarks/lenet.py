"""The network of the cost benchmarks: LeNet for 36 x 36 images, with K heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH, CLASSES = 256, 10


class Trunk(nn.Sequential):
    """conv 1-10 k5, pool, ReLU, conv 10-20 k5, pool, ReLU, fc 720-50, ReLU."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(720, 50),
            nn.ReLU(),
        )


class Lenet(nn.Module):
    """A trunk and K heads fc 50-50, ReLU, fc 50-10."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, CLASSES)) for _ in range(size)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = self.trunk(images)
        return features, [head(features) for head in self.heads]


def batch(size: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Random images and K columns of classes: costs do not depend on what is in them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 1, 36, 36, generator=generator)
    classes = torch.randint(CLASSES, (size, BATCH), generator=generator)
    return images.to(device), classes.to(device)

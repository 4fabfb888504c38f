"""Drawn pictures: bars, blobs and stripes, alone or side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.meta.zoo.made import Made, MadeTask

SIDE = 8  # pixels
CLASSES = {"bars": 4, "blobs": 4, "stripes": 4}


def drawn(style: str, generator: torch.Generator, count: int, noise: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``count`` pictures [N, 64] of a ``style``, their classes [N], how many things they show [N], and the noise-free.

    A bar's class is its direction (across, down, two diagonals), a blob's the quarter that it lies in, that of stripes
    their width and direction.
    """
    axis = torch.arange(SIDE).float()
    rows, columns = axis.view(1, -1, 1), axis.view(1, 1, -1)
    kind = torch.randint(CLASSES[style], (count,), generator=generator)
    number = torch.randint(1, 4, (count,), generator=generator)
    place = torch.rand(count, 3, 2, generator=generator)
    shown = (torch.arange(3) < number[:, None]).float().view(count, 3, 1, 1)
    which = kind.view(-1, 1, 1)
    if style == "stripes":
        phase = place[:, 0, 0].view(-1, 1, 1) * 6
        wave = torch.where(which % 2 == 0, rows, columns) * torch.where(which < 2, 0.9, 1.8) + phase
        clean = 0.5 + 0.5 * torch.sin(wave) * (number.view(-1, 1, 1) / 3)
    else:
        parts = []
        for i in range(3):
            at = place[:, i].view(count, 2, 1, 1) * (SIDE - 1)
            if style == "bars":
                down, right = rows - at[:, 0], columns - at[:, 1]
                tilted = torch.stack([of.expand(count, SIDE, SIDE) for of in (down, right, down - right, down + right)])
                across = tilted.gather(0, which.expand(count, SIDE, SIDE)[None])[0]
                parts.append(torch.exp(-(across**2)))
            else:
                quarter = torch.stack([kind % 2, kind // 2], 1).view(count, 2, 1, 1) * (SIDE / 2)
                centre = quarter + place[:, i].view(count, 2, 1, 1) * (SIDE / 2 - 1)
                parts.append(torch.exp(-((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2)))
        clean = (torch.stack(parts, 1) * shown).amax(1)
    flat = clean.flatten(1)
    return flat + noise * torch.randn(flat.shape, generator=generator), kind, number, flat


class DrawnPictures(Made):
    """Pictures, one or several side by side: what each shows, how many things, and the pictures without noise.

    Args:
        styles: of the pictures, for each place one of "bars", "blobs", "stripes".
        counts: whether the number of things in the first picture is a task.
        pixels: whether the pictures without noise are a task.
        width: of the trunk.
        depth: of the trunk.
    """

    use = "Learning a weighting rule."

    def __init__(
        self,
        styles: tuple[str, ...] = ("bars",),
        counts: bool = True,
        pixels: bool = True,
        width: int = 32,
        depth: int = 2,
    ) -> None:
        tasks = [MadeTask(f"kind{i}", "class", CLASSES[style]) for i, style in enumerate(styles)]
        tasks += [MadeTask("count", "number", 1)] if counts else []
        tasks += [MadeTask("pixels", "number", SIDE * SIDE * len(styles))] if pixels else []
        super().__init__(SIDE * SIDE * len(styles), tasks, width, depth)
        self.styles = styles

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        noises = torch.rand(len(self.styles), generator=generator) * 0.5
        made = [drawn(style, generator, count, float(n)) for style, n in zip(self.styles, noises, strict=True)]
        columns = {"x": torch.cat([of[0] for of in made], 1)}
        columns |= {f"kind{i}": of[1] for i, of in enumerate(made)}
        columns["count"] = made[0][2].float()[:, None] - 2
        columns["pixels"] = torch.cat([of[3] for of in made], 1)
        return columns

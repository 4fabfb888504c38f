"""A matrix of cosines as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

CELL, MARGIN = 36, 6
OPPOSED, NEITHER, AGREED = (213, 94, 0), (247, 247, 247), (0, 114, 178)  # colour-blind people can tell orange from blue


def heatmap(cosines: Sequence[Sequence[float]], names: Sequence[str]) -> Tensor:
    """``cosines`` [K, K] with their numbers and ``names``, as an image [3, H, W] of bytes; NaN is grey."""
    font = ImageFont.load_default(12)
    left = MARGIN * 2 + int(max(font.getlength(name[:24]) for name in names))
    size = len(names)
    cell = CELL if size <= 12 else 24
    image = Image.new("RGB", (left + size * cell + MARGIN, size * cell + 2 * MARGIN), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for i, (name, row) in enumerate(zip(names, cosines, strict=True)):
        y = MARGIN + i * cell
        draw.text((left - MARGIN, y + cell / 2), name[:24], fill=(0, 0, 0), font=font, anchor="rm")
        for j, cosine in enumerate(row):
            x = left + j * cell
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour(cosine))
            if cosine == cosine and size <= 12:
                ink = (255, 255, 255) if abs(cosine) > 0.6 else (0, 0, 0)
                draw.text((x + cell / 2 - 1, y + cell / 2), f"{cosine:.1f}", fill=ink, font=font, anchor="mm")
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def colour(cosine: float) -> tuple[int, int, int]:
    """The colour of a cosine: orange for -1, white for 0, blue for 1."""
    if cosine != cosine:
        return (200, 200, 200)
    end, share = (AGREED if cosine > 0 else OPPOSED), min(abs(cosine), 1.0)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(NEITHER, end, strict=True))
    return red, green, blue

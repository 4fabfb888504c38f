"""Maps of numbers as pictures that a person can read."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor
from torch.nn import functional

# Dark violet (far) over blue and green to yellow (near): each step is lighter than the one before.
RAMP = ((0.27, 0.0, 0.33), (0.23, 0.32, 0.55), (0.13, 0.57, 0.55), (0.37, 0.79, 0.38), (0.99, 0.91, 0.14))


def depth_picture(depth: Tensor, like: Tensor) -> Tensor:
    """Depths [B, 1, H, W] as colours [B, 3, H, W]; the nearest known one of ``like`` is yellow, the farthest violet."""
    known = torch.isfinite(like) & (like != 0)
    low = torch.where(known, like, torch.inf).amin((1, 2, 3), keepdim=True)
    high = torch.where(known, like, -torch.inf).amax((1, 2, 3), keepdim=True)
    near = ((high - depth) / (high - low).clamp(min=1e-6)).nan_to_num(0).clamp(0, 1).squeeze(1)
    ramp = torch.tensor(RAMP, device=depth.device)
    place = near * (len(RAMP) - 1)
    step = place.long().clamp(max=len(RAMP) - 2)
    part = (place - step).unsqueeze(3)
    return ((1 - part) * ramp[step] + part * ramp[step + 1]).movedim(3, 1)


def normal_picture(normals: Tensor) -> Tensor:
    """Normals [B, 3, H, W] as colours: right is red, up is green, towards the camera is blue."""
    return (functional.normalize(normals, dim=1) + 1) / 2


def class_picture(labels: Tensor, classes: int) -> Tensor:
    """Classes [B, H, W] as colours [B, 3, H, W]: the first two are greys, the others hues; an unknown one is black."""
    hues = [colorsys.hsv_to_rgb(k / max(1, classes - 2), 0.85, 1.0) for k in range(max(0, classes - 2))]
    table = torch.tensor([(0.0, 0.0, 0.0), (0.3, 0.3, 0.3), (0.55, 0.55, 0.55), *hues], device=labels.device)
    return table[(labels.long() + 1).clamp(0, classes)].movedim(3, 1)


def chance_picture(chances: Tensor) -> Tensor:
    """Chances [B, 1, H, W] in [0, 1] as greys [B, 3, H, W]."""
    return chances.float().expand(-1, 3, -1, -1)

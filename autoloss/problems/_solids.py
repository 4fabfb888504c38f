"""Where rays meet convex solids: boxes, spheres and cylinders around the origin.

Each function takes the rays of M solids, ``origin`` [M, 1, 3] and ``direction`` [M, P, 3] in the solid's own axes (y is
up), and gives the multiple of the direction at which a ray enters, [M, P] (infinite where it passes by), and the unit
normal there, [M, P, 3]. The camera must be outside the solid; what lies behind it is not met.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def box(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """A box with the half sides ``half`` [M, 1, 3]: a ray is inside while it is inside all three slabs."""
    near, far = _slab(origin, direction, half)
    enter, axis = near.max(2)
    normal = functional.one_hot(axis, 3) * -direction.sign()
    return _entered(enter, far.amin(2)), normal


def sphere(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """A sphere; its radius is the first of ``half`` [M, 1, 3]."""
    radius = half[..., 0]
    near, far = _round(origin, direction, radius)
    normal = (origin + near.unsqueeze(2) * direction) / radius.unsqueeze(2)
    return _entered(near, far), normal


def cylinder(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """An upright cylinder; ``half`` [M, 1, 3] holds its radius, half its height, and its radius again."""
    flat = torch.tensor([1.0, 0.0, 1.0], device=origin.device)
    radius = half[..., 0]
    near, far = _round(origin * flat, direction * flat, radius)
    bottom, top = _slab(origin[..., 1], direction[..., 1], half[..., 1])
    side = (origin + near.unsqueeze(2) * direction) * flat / radius.unsqueeze(2)
    lid = (1 - flat) * -direction.sign()
    normal = torch.where((near > bottom).unsqueeze(2), side, lid)
    return _entered(torch.maximum(near, bottom), torch.minimum(far, top)), normal


def plane(origin: Tensor, direction: Tensor, normal: Tensor, offset: Tensor) -> Tensor:
    """Where rays meet the front of the plane ``normal . x = offset`` (normal [M, 1, 3], offset [M, 1]), [M, P]."""
    speed = (normal * direction).sum(2)
    found = (offset - (normal * origin).sum(2)) / speed.clamp(max=-1e-9)
    return torch.where((speed < 0) & (found > 0), found, torch.inf)


def _slab(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave ``|x| <= half``; a ray along the slab is inside for ever, or never."""
    speed = torch.where(direction.abs() < 1e-9, 1e-9, direction)
    one, other = (-half - origin) / speed, (half - origin) / speed
    return torch.minimum(one, other), torch.maximum(one, other)


def _round(origin: Tensor, direction: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave ``|x| <= radius``; those that pass by enter after they leave."""
    square = direction.square().sum(2).clamp(min=1e-12)
    middle = -(origin * direction).sum(2) / square
    # The distance of the ray from the centre at its nearest point. The textbook's discriminant cancels in float32.
    nearest = (origin + middle.unsqueeze(2) * direction).square().sum(2)
    room = radius.square() - nearest
    width = (room.clamp(min=0) / square).sqrt()
    width = torch.where(room > 0, width, -1.0)
    return middle - width, middle + width


def _entered(near: Tensor, far: Tensor) -> Tensor:
    return torch.where((near < far) & (near > 0), near, torch.inf)

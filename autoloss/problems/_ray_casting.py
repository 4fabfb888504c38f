"""Looks at rooms with solids: the depth, the normal and the owner of each pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from autoloss.problems._solids import box, cylinder, plane, sphere

SHAPES = (box, sphere, cylinder)
GROUND, WALL, FIRST = 0, 1, 2  # owners of a pixel; FIRST + k is the solid k
VIEW = math.radians(60.0)  # the angle from the left to the right edge of the picture
TOGETHER = 32  # rooms that are looked at together; more do not fit into a processor's cache


@dataclass(frozen=True, slots=True)
class Rooms:
    """S rooms with up to N solids each; lengths are metres, angles radians, y is up.

    The camera is ``height`` [S] above the ground y = 0 and looks along z, turned down by ``pitch`` [S]. The wall is
    ``distance`` [S] away, and turned about the upright axis by ``turn`` [S]. A solid has a ``shape`` [S, N] (0 box,
    1 sphere, 2 cylinder, -1 none), a centre ``place`` [S, N, 3], half sides ``half`` [S, N, 3] (of a sphere three
    times its radius) and an angle ``yaw`` [S, N] about its upright axis.
    """

    height: Tensor
    pitch: Tensor
    distance: Tensor
    turn: Tensor
    shape: Tensor
    place: Tensor
    half: Tensor
    yaw: Tensor

    def __getitem__(self, rows: Any) -> Rooms:
        return Rooms(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Views:
    """What the camera sees: [S, H, W], the vectors [S, 3, H, W].

    ``depth`` is the distance along the camera's axis. ``normal`` is a unit vector in the camera's axes (right, up,
    towards the camera), and ``world`` the same in the room's. ``point`` is the place in the room. ``owner`` says what
    is seen: ground, wall, or ``FIRST`` plus the solid's number.
    """

    depth: Tensor
    normal: Tensor
    world: Tensor
    point: Tensor
    owner: Tensor


def look(rooms: Rooms, side: int) -> Views:
    """Cast a ray through the middle of each of ``side`` x ``side`` pixels of each room."""
    parts = [_look(rooms[start : start + TOGETHER], side) for start in range(0, len(rooms.height), TOGETHER)]
    return Views(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Views)))


def camera_axes(pitch: Tensor) -> Tensor:
    """The camera's axes in the room, [S, 3, 3]: right, up, and towards the camera."""
    zero, one, sin, cos = torch.zeros_like(pitch), torch.ones_like(pitch), pitch.sin(), pitch.cos()
    rows = [(one, zero, zero), (zero, cos, sin), (zero, sin, -cos)]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def rays(side: int) -> Tensor:
    """The direction through each pixel in the camera's axes, [P, 3]; one unit of it is one metre of depth."""
    steps = (torch.arange(side) - (side - 1) / 2) * (2 * math.tan(VIEW / 2) / side)
    down, right = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([right, -down, -torch.ones_like(right)], 2).flatten(0, 1)


def _look(rooms: Rooms, side: int) -> Views:
    axes = camera_axes(rooms.pitch)
    direction = rays(side) @ axes
    origin = torch.zeros(len(axes), 1, 3)
    origin[:, 0, 1] = rooms.height
    zero = torch.zeros_like(rooms.turn)
    facing = torch.stack([rooms.turn.sin(), zero, -rooms.turn.cos()], 1).unsqueeze(1)
    upright = torch.tensor([0.0, 1.0, 0.0]).expand_as(facing)
    depth = plane(origin, direction, upright, zero.unsqueeze(1))
    wall = plane(origin, direction, facing, -rooms.distance.unsqueeze(1))
    nearer = wall < depth
    normal = torch.where(nearer.unsqueeze(2), facing, upright)
    depth, owner = torch.where(nearer, wall, depth), torch.where(nearer, WALL, GROUND)
    for slot in range(rooms.shape.shape[1]):
        for number, shape in enumerate(SHAPES):
            rows = (rooms.shape[:, slot] == number).nonzero().squeeze(1)
            if not len(rows):
                continue
            turn = _turned(rooms.yaw[rows, slot])
            start = (origin[rows] - rooms.place[rows, slot].unsqueeze(1)) @ turn
            found, facet = shape(start, direction[rows] @ turn, rooms.half[rows, slot].unsqueeze(1))
            nearer = found < depth[rows]
            depth[rows] = torch.where(nearer, found, depth[rows])
            normal[rows] = torch.where(nearer.unsqueeze(2), facet @ turn.mT, normal[rows])
            owner[rows] = torch.where(nearer, FIRST + slot, owner[rows])
    point = origin + depth.unsqueeze(2) * direction
    own, world, point = (x.mT.unflatten(2, (side, side)) for x in (normal @ axes.mT, normal, point))
    return Views(depth.unflatten(1, (side, side)), own, world, point, owner.unflatten(1, (side, side)))


def _turned(yaw: Tensor) -> Tensor:
    """From the room's axes to those of a solid, [M, 3, 3], for row vectors."""
    sin, cos, zero, one = yaw.sin(), yaw.cos(), torch.zeros_like(yaw), torch.ones_like(yaw)
    rows = [(cos, zero, sin), (zero, one, zero), (-sin, zero, cos)]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)

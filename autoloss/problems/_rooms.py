"""Draws rooms with solids of many sizes, and takes their pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autoloss.problems._ray_casting import FIRST, GROUND, SHAPES, Rooms, Views, look

CLASSES = ("ground", "wall", "box", "sphere", "cylinder", "die", "ball", "peg")
SMALL = (5, 6, 7)
LARGE_SLOTS, SMALL_SLOTS = 4, 3
SEEN = 4  # pixels that must show of a solid, so that it has a centre
NOISE = 0.03
# What is small has a bright colour of its own (red, yellow, blue), all else is dull: with so few pixels its shape can
# hardly be seen.
SMALL_COLOURS = ((0.9, 0.15, 0.15), (0.9, 0.8, 0.1), (0.15, 0.25, 0.95))


def draw_rooms(count: int, generator: torch.Generator) -> tuple[Rooms, Tensor]:
    """``count`` rooms, and the class of each solid [count, N].

    Of four large solids (18 to 61 cm from the centre to a side) 80 % are there, of three small ones (about 16 cm, a few
    pixels in the picture) 50 %. They stand on the ground, and may lie within each other.
    """
    slots = LARGE_SLOTS + SMALL_SLOTS

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    small = torch.arange(slots) >= LARGE_SLOTS
    there = uniform(0, 1, slots) < torch.where(small, 0.5, 0.8)
    shape = torch.randint(len(SHAPES), (count, slots), generator=generator)
    large = torch.exp(uniform(-1.7, -0.5, slots, 3))
    tiny = uniform(0.12, 0.2, slots, 1).expand(-1, -1, 3)
    half = torch.where(small[:, None], tiny, large)
    slim = torch.stack([0.6 * half[..., 0], 1.6 * half[..., 0], 0.6 * half[..., 0]], 2)
    half = torch.where((small & (shape == 2)).unsqueeze(2), slim, half)
    width = half[..., :1]
    half = torch.where((shape == 1).unsqueeze(2), width, half)
    half = torch.where((shape == 2).unsqueeze(2), torch.cat([width, half[..., 1:2], width], 2), half)
    forward = torch.where(small, uniform(1.8, 3.5, slots), uniform(1.8, 4.5, slots))
    place = torch.stack([uniform(-0.5, 0.5, slots) * forward, half[..., 1], forward], 2)
    rooms = Rooms(
        height=uniform(1.3, 1.7),
        pitch=uniform(0.3, 0.45),
        distance=uniform(5.5, 8.0),
        turn=uniform(-0.4, 0.4),
        shape=torch.where(there, shape, -1),
        place=place,
        half=half,
        yaw=uniform(0.0, 3.1416, slots),
    )
    return rooms, torch.where(small, 5, 2) + shape


def labels_of(views: Views, classes: Tensor) -> Tensor:
    """The class of each pixel, [S, H, W], from the class of each solid, [S, N]."""
    count = len(classes)
    table = torch.cat([torch.arange(FIRST).expand(count, FIRST), classes], 1)
    return table.gather(1, views.owner.flatten(1)).view_as(views.owner)


def centres_of(views: Views, slots: int) -> Tensor:
    """1 in the 3 x 3 pixels around the middle of what is seen of each solid, else 0, [S, 1, H, W].

    A solid of which fewer than ``SEEN`` pixels show has none.
    """
    count, side = len(views.owner), views.owner.shape[-1]
    seen = functional.one_hot(views.owner.flatten(1), FIRST + slots)[..., FIRST:].float()
    size = seen.sum(1)
    steps = torch.arange(side, dtype=torch.float32)
    places = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), 2).flatten(0, 1)
    middle = (seen.mT @ places / size.clamp(min=1).unsqueeze(2)).round().long()
    # Away from the border, so that the 3 x 3 pixels are all in the picture.
    middle = middle.clamp(1, side - 2)
    spots = torch.zeros(count, side * side)
    spots.scatter_reduce_(1, middle[..., 0] * side + middle[..., 1], (size >= SEEN).float(), "amax")
    return functional.max_pool2d(spots.view(count, 1, side, side), 3, 1, 1)


def pictures_of(views: Views, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [S, 3, H, W] in [0, 1]: a chequered ground, plain or striped solids, one lamp, and noise.

    Large solids have any dull colour, small ones the bright one of their class [S, N], give or take a little.
    """
    count, slots = classes.shape
    drawn = torch.rand(count, FIRST + slots, 3, generator=generator)
    own = torch.tensor(SMALL_COLOURS)[(classes - SMALL[0]).clamp(min=0)] + 0.1 * (drawn[:, FIRST:] - 0.5)
    small = (classes >= SMALL[0]).unsqueeze(2)
    colours = 0.2 + 0.7 * (drawn + drawn.mean(2, keepdim=True)) / 2
    colours[:, FIRST:] = torch.where(small, own, colours[:, FIRST:]).clamp(0, 1)
    picked = views.owner.flatten(1).unsqueeze(2).expand(-1, -1, 3)
    colour = colours.gather(1, picked).mT.unflatten(2, views.owner.shape[1:])
    size = 0.3 + 0.6 * torch.rand(count, 1, 1, generator=generator)
    tiles = ((views.point[:, 0] / size).floor() + (views.point[:, 2] / size).floor()) % 2
    striped = torch.rand(count, FIRST + slots, generator=generator) < 0.4
    striped = striped.gather(1, views.owner.flatten(1)).view_as(views.owner)
    stripes = torch.sin(25 * views.point[:, 1])
    pattern = torch.where(views.owner == GROUND, 0.3 * tiles, 0.15 * stripes * striped)
    # The lamp is above and behind the camera, so that few sides are black.
    lamp = torch.randn(count, 3, generator=generator) * torch.tensor([0.7, 0.3, 0.3]) + torch.tensor([0.0, 1.0, -0.7])
    light = (views.world * functional.normalize(lamp, dim=1)[:, :, None, None]).sum(1).clamp(min=0)
    bright = (1 - pattern) * (0.35 + 0.65 * light)
    noise = NOISE * torch.randn(colour.shape, generator=generator)
    return (colour * bright.unsqueeze(1) + noise).clamp(0, 1)


def rendered(count: int, side: int, seed: int) -> dict[str, Tensor]:
    """``count`` samples: ``image`` (bytes), ``segmentation``, ``depth`` (metres), ``normals`` and ``centres``."""
    generator = torch.Generator().manual_seed(seed)
    rooms, classes = draw_rooms(count, generator)
    views = look(rooms, side)
    return {
        "image": (pictures_of(views, classes, generator) * 255).round().to(torch.uint8),
        "segmentation": labels_of(views, classes).to(torch.uint8),
        "depth": views.depth.unsqueeze(1),
        "normals": views.normal,
        "centres": centres_of(views, classes.shape[1]),
    }

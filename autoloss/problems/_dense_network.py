"""A small network for dense tasks: pictures in, maps of the same size out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss.core.problem import Branch

STRIDE = 8  # the sides of pictures are multiples of it
GROUPS = 8


class DenseNetwork(nn.Module):
    """A U-Net at half the picture's size, and a head for each task that brings its map to full size.

    The picture's 2 x 2 blocks become channels first (no pixel is lost), and each head's output becomes 2 x 2 blocks
    again: the convolutions run on a quarter of the pixels. Group normalisation, so that the output for a sample does
    not depend on the others. The anchor is the output of the decoder, [B, widths[0], H / 2, W / 2].

    ``channels`` says how many channels each task's map has.
    """

    def __init__(self, channels: Mapping[str, int], widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(_layer(12, first), _layer(first, first))
        self.down = nn.ModuleList(nn.Sequential(_layer(a, b, 2), _layer(b, b)) for a, b in pairwise(widths))
        backwards = list(pairwise(reversed(widths)))
        self.side = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in backwards)
        self.up = nn.ModuleList(_layer(b, b) for _, b in backwards)
        self.heads = nn.ModuleDict({name: _head(first, number) for name, number in channels.items()})

    def forward(self, pictures: Tensor, branch: Branch) -> tuple[Any, dict[str, Tensor]]:
        """The anchor, and each task's map [B, C, H, W], from pictures [B, 3, H, W]."""
        levels = [self.stem(functional.pixel_unshuffle(pictures, 2))]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        for side, up in zip(self.side, self.up, strict=True):
            larger = functional.interpolate(side(features), scale_factor=2.0, mode="nearest")
            features = up(larger + levels.pop())
        copies, anchor = branch(features)
        return anchor, {name: functional.pixel_shuffle(head(copies[name]), 2) for name, head in self.heads.items()}


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.GroupNorm(GROUPS, outputs), nn.ReLU(inplace=True)
    )


def _head(inputs: int, channels: int) -> nn.Module:
    last = nn.Conv2d(inputs // 2, 4 * channels, 1)
    assert last.bias is not None
    with torch.no_grad():
        # The four pixels of a block begin equal (Aitken et al., arXiv:1707.02937), or a chequered pattern remains.
        last.weight.copy_(last.weight[::4].repeat_interleave(4, 0))
        last.bias.copy_(last.bias[::4].repeat_interleave(4, 0))
    return nn.Sequential(_layer(inputs, inputs // 2), last)


def rare(head: nn.Module, share: float) -> None:
    """Let a head of logits begin with the probability ``share`` everywhere, as detectors do."""
    assert isinstance(head, nn.Sequential)
    bias = head[-1].bias
    assert isinstance(bias, Tensor)
    nn.init.constant_(bias, torch.logit(torch.tensor(share)).item())

"""What a change of the gradient does to an objective where the gradient's length stays what it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.tensors.pairs import flat, shaped


def turning(direction: Mapping[Tensor, Tensor], gradients: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """``direction`` without its part along the step's ``gradients``, tensors for each parameter.

    If an objective changes by ``-<direction, dg>`` when the step's gradient g changes by dg, it changes by
    ``-<direction - g <direction, g> / <g, g>, dg>`` when the gradient is then brought back to its length, to
    ``(g + dg) |g| / |g + dg|``: the derivative of that by dg is the projection that takes out g. So a number that makes
    all gradients larger or smaller, which is what a learning rate does, has no effect.
    """
    pairs = {p: (_wide(d), _wide(gradients[p])) for p, d in direction.items() if p in gradients}
    if not pairs:
        return dict(direction)
    to = next(iter(pairs.values()))[0]
    along = torch.stack([torch.dot(d, g).to(to) for d, g in pairs.values()]).sum()
    square = torch.stack([torch.dot(g, g).to(to) for _, g in pairs.values()]).sum()
    share = torch.where(square > 0, along / square, 0.0)
    taken = {p: shaped(d - share.to(d) * g, like=direction[p]) for p, (d, g) in pairs.items()}
    return {**direction, **taken}


def rounding(direction: Mapping[Tensor, Tensor], gradients: Mapping[Tensor, Tensor]) -> Tensor | None:
    """What rounding may leave of ``<turning(direction, gradients), gradients>``, which is 0; ``None`` of no tensors.

    It is ``eps |direction| |gradients|``, with the eps of the numbers that these are computed in.
    """
    pairs = [(_wide(d), _wide(gradients[p])) for p, d in direction.items() if p in gradients]
    if not pairs:
        return None
    to = pairs[0][0]
    sizes = [torch.stack([torch.dot(x, x).to(to) for x in of]).sum() for of in zip(*pairs, strict=True)]
    return torch.finfo(to.dtype).eps * (sizes[0].sqrt() * sizes[1].sqrt())


def _wide(tensor: Tensor) -> Tensor:
    numbers = flat(tensor)
    return numbers.to(torch.promote_types(numbers.dtype, torch.float32))

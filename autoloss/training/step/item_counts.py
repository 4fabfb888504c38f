"""The part of an accumulation window that a micro-batch is, where the window's number of items is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.surgery import Surgery
from autoloss.core.table import Reduced
from autoloss.core.weighting import Weighting

Count = float | Tensor
Items = Count | Mapping[str, Count]


def shares(losses: Reduced, names: Sequence[str], items: Items) -> Tensor:
    """The share [N] of the window's ``items`` that each loss has in this micro-batch; all ranks' items are counted."""
    if not isinstance(items, Mapping):
        return losses.counts / _at_least_one(items, losses.counts.device)
    for i, name in enumerate(names):
        if name not in items and losses.scalars[i] is not None:
            raise ConfigError(
                f"`items` must have the number of items of each loss of the window, but it lacks {name!r}. "
                "Add it, or give one number for all losses."
            )
    counts = losses.counts.unbind()
    found = [c / _at_least_one(items.get(name, 1.0), c.device) for name, c in zip(names, counts, strict=True)]
    return torch.stack(found)


def check_has_weights(weighting: Weighting) -> None:
    """Raise :class:`ConfigError` if ``weighting`` has no weights of which the window's items could be a factor."""
    if isinstance(weighting, Surgery):
        raise ConfigError(
            f"`items` needs weights to share out, but {weighting.title()!r} has none. Leave `items` out, and "
            "divide the total by the number of micro-batches."
        )


def _at_least_one(count: Count, device: torch.device) -> Count:
    # A window without an item has no loss: 0 / 0 would be NaN.
    if isinstance(count, Tensor):
        return count.detach().to(device, torch.float32).clamp(min=1)
    return max(float(count), 1.0)

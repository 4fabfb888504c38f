"""What is asked of a dataset: its size, and some of its samples as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset, default_collate

from autoloss.core.errors import ConfigError


def size_of(dataset: Any, who: str, remedy: str) -> int:
    """How many samples ``dataset`` has; :class:`ConfigError` for a stream, which does not know it.

    ``who`` needs the number, and ``remedy`` says what to do about a stream.
    """
    try:
        return len(dataset)
    except TypeError:
        raise ConfigError(
            f"{who} needs data with a length and an order, but {type(dataset).__name__} is a stream. {remedy}"
        ) from None


def collated(dataset: Dataset[Any], rows: Sequence[int]) -> Any:
    """The batch of the samples ``rows``, as a loader makes it."""
    taken = getattr(dataset, "__getitems__", None)
    samples = taken(list(rows)) if taken else [dataset[i] for i in rows]
    return (getattr(dataset, "collate", None) or default_collate)(samples)

"""Random numbers that are the same on every rank and in a resumed run."""

from __future__ import annotations

import torch

SEEDS = 2**64  # a generator of torch takes no larger seed


def shared_generator(seed: int, step: int) -> torch.Generator:
    """A generator on the host for one optimiser step; it depends on ``seed`` and ``step`` only.

    Move its numbers to a device with ``.to(device, non_blocking=True)``, which does not wait.
    """
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)

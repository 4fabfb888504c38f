"""Random numbers that every rank and every resumed run draws alike."""

from __future__ import annotations

import torch


def shared_generator(seed: int, step: int) -> torch.Generator:
    """A generator on the host for one optimiser step: a function of ``seed`` and ``step`` and nothing else.

    What is drawn from it goes to a device with ``.to(device, non_blocking=True)``, which does not wait.
    """
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)

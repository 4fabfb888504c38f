"""Where training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where training stands: optimiser steps done, epoch, and ``progress`` from 0 to 1."""

    step: int = 0
    epoch: int = 0
    progress: float = 0.0

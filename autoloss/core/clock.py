"""Where training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where training stands: optimiser steps done, epoch, ``progress`` from 0 to 1, plateaus of validation so far.

    ``unknown`` names what nobody has said: "progress" where training has no known length, "epoch" before
    ``set_epoch``. Both are 0 then.
    """

    step: int = 0
    epoch: int = 0
    progress: float = 0.0
    plateaus: int = 0
    unknown: frozenset[str] = frozenset()

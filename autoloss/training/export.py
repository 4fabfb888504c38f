"""What a weighting leaves to other runs."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from autoloss.core.files import EXPORT
from autoloss.core.weighting import Weighting


def write_export(weighting: Weighting, directory: Path) -> None:
    """Write what ``weighting`` has learned that does not hang on these losses, if anything, to ``directory``."""
    found = weighting.export()
    if found is None:
        return
    fresh = directory / f".{EXPORT}.{os.getpid()}"
    torch.save(found, fresh)
    os.replace(fresh, directory / EXPORT)

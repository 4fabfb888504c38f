"""Writes what a weighting has learned, for other runs."""

from __future__ import annotations

from pathlib import Path

import torch

from autoloss.core.io.files import EXPORT, whole
from autoloss.core.weighting import Weighting


def write_export(weighting: Weighting, directory: Path) -> None:
    """Write to ``directory`` what ``weighting`` has learned that other losses can use too, if there is anything."""
    found = weighting.export()
    if found is None:
        return
    with whole(directory / EXPORT, "wb") as file:
        torch.save(found, file)

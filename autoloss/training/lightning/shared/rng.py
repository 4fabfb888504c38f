"""The state of the random generators as plain values and tensors, for checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators, loadable with ``weights_only=True``."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, following = random.getstate()
    return {
        "python": [version, list(words), following],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set the generators to ``state``, as returned by :func:`rng_state`."""
    version, words, following = state["python"]
    random.setstate((version, tuple(words), following))
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


@contextmanager
def untouched_rng() -> Iterator[None]:
    """Restore the generators at the end of the block."""
    state = rng_state()
    try:
        yield
    finally:
        restore_rng(state)


class KeepsRandomState:
    """A Lightning module whose checkpoints hold the state of the random generators, which Lightning leaves out."""

    _rng: dict[str, Any] | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the random generators."""
        checkpoint["autoloss_rng"] = rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the random generators until training starts."""
        self._rng = checkpoint.get("autoloss_rng")

    def on_train_start(self) -> None:
        """Restore the random generators of a resumed run."""
        if self._rng is not None:
            restore_rng(self._rng)
            self._rng = None

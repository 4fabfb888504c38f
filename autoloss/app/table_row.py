"""What TensorBoard's table says of a run: its weighting, its seed, and what was chosen for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoloss.app.nested import node_at
from autoloss.training.record.hparams import Plain, TableRow

# Keys that say where and how a run is trained, not what.
_LEFT_OUT = ("weighting", "seed", "name", "ckpt", "fresh", "test", "workers", "threads", "load", "trainer.logger")
_LEFT_OUT_GROUPS = ("hydra", "checkpoint", "record", "search", "compare")


def table_row(config: Mapping[str, Any], overrides: Sequence[str], listed: bool = True) -> TableRow:
    """The row of a run of ``config`` for which the ``overrides`` were chosen.

    >>> config = {"weighting": {"name": "gradnorm", "alpha": 1.5}, "seed": 3, "batch_size": 8}
    >>> table_row(config, ["weighting=gradnorm", "weighting.alpha=1.5", "fresh=true"]).values
    {'weighting': 'gradnorm', 'seed': 3, 'weighting.alpha': 1.5}
    """
    values: dict[str, Plain] = {"weighting": str(config["weighting"]["name"]), "seed": int(config["seed"])}
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        if key not in _LEFT_OUT and key.split(".")[0] not in _LEFT_OUT_GROUPS:
            values[key.removeprefix("loss@")] = _value(config, key, text)
    return TableRow(values, listed)


def _value(config: Any, key: str, text: str) -> Plain:
    """The number at ``key`` in ``config``; what was written, where there is none."""
    found = node_at(config, key.split("."))
    return found if isinstance(found, (bool, int, float)) else text

"""Which runs can be one fleet, told from their configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from autoloss.core.schedules.learned_numbers import is_learned

# The values of the keys that a fleet takes: with another one the run is trained alone.
PLAIN: Mapping[str, Any] = {"workers": 0, "ckpt": None}
TRAINER: Mapping[str, tuple[Any, ...]] = {
    "accelerator": ("auto", "cpu"),
    "devices": (1, "1", "auto"),
    "strategy": ("auto", "single_device"),
    "precision": ("32-true", 32, "32"),
    "logger": (None, []),
}
FOLLOWED = {
    "max_epochs",
    "max_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "check_val_every_n_epoch",
    "log_every_n_steps",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
}
# What may differ between the members of a fleet; of the rest only the structure counts, or nothing may differ.
FREE = ("seed", "weighting", "sample_weighting", "name", "fresh", "load", "test", "threads", "lr_schedule", "base")
NUMBERS = ("losses", "optimizer", "penalties")


def obstacle(config: Mapping[str, Any]) -> str:
    """The key of ``config`` that a fleet does not follow; empty if there is none."""
    for key, value in PLAIN.items():
        if config[key] != value:
            return key
    if config["checkpoint"]["every_steps"]:
        return "checkpoint.every_steps"
    if config["constraints"]:
        return "constraints"
    if config["held_out"]["implicit"]:
        return "held_out.implicit"
    if config["held_out"]["losses"]:
        return "held_out.losses"
    if learned := _learned(config["losses"], "losses"):
        return learned
    if config["module"] and config["module"].get("name") not in (None, "multitask"):
        return "module"
    trainer = config["trainer"]
    epochs, steps = trainer["max_epochs"], trainer.get("max_steps", -1)
    if epochs == 0 or steps == 0 or (steps < 0 and (epochs is None or epochs < 0)):
        return "trainer.max_steps" if steps == 0 else "trainer.max_epochs"
    for flag, value in trainer.items():
        if flag not in FOLLOWED and value not in TRAINER.get(flag, ()):
            return f"trainer.{flag}"
    # A fleet on an accelerator is not tried yet.
    return "trainer.accelerator" if trainer["accelerator"] == "auto" and torch.accelerator.is_available() else ""


def _learned(node: Any, path: str) -> str:
    """The key of a number of a loss that is learned, below ``path``; empty if there is none."""
    if isinstance(node, Mapping):
        inner = (_learned(value, f"{path}.{key}") for key, value in node.items() if key != "name")
    elif isinstance(node, (list, tuple)):
        inner = (_learned(value, path) for value in node)
    else:
        return path if is_learned(node) else ""
    return next(filter(None, inner), "")


def structure_of(config: Mapping[str, Any]) -> str:
    """What must be the same for the runs of one fleet, as text."""
    kept = {key: value for key, value in config.items() if key not in FREE}
    kept |= {key: _without_numbers(config[key]) for key in NUMBERS}
    return json.dumps(kept, sort_keys=True, default=str)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, Mapping, list, tuple)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _without_numbers(inner) for key, inner in value.items()}
    return [_without_numbers(inner) for inner in value] if isinstance(value, (list, tuple)) else 0

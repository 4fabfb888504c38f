"""The names of the losses in a player's state, so that state is not loaded into others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import ConfigError

KEY = "_extra_state"


class Order(nn.Module):
    """Holds ``names``: what the rows of a player's state belong to, in order, by what they are.

    They are bytes in a tensor, since safetensors and sharded checkpoints hold only tensors. They are no buffer, which
    averages of models would change. State without names, of 0.1.0, loads too.
    """

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.names = {what: list(of) for what, of in names.items()}

    def get_extra_state(self) -> Tensor:
        """The names for ``state_dict``."""
        return torch.tensor(list(json.dumps(self.names).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing: :func:`check_order` has compared the names before anything was loaded."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(prefix + KEY, self.get_extra_state())
        super()._load_from_state_dict(state_dict, prefix, *args)


def check_order(module: nn.Module, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Raise :class:`ConfigError` if ``state`` is of other names than those of ``module.order``, or of another order."""
    order = module.order
    saved = state.get(f"{prefix}order.{KEY}")
    if saved is None or not isinstance(order, Order):
        return
    before: dict[str, list[str]] = json.loads(bytes(saved.tolist()))
    for what, names in order.names.items():
        if before.get(what, names) != names:
            raise ConfigError(
                f"State must be loaded into the {what} that it was saved of, in their order, but it is of "
                f"{', '.join(before[what])} and these are {', '.join(names)}. Give the same names in the same order."
            )

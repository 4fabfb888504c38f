"""Modules whose state is buffers of float32 that no optimiser, cast or rank disturbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class StateModule(nn.Module):
    """A module whose state moves between devices and never changes its precision.

    ``.half()`` on the model that holds it would round log-variances and Adam moments to 11 bits;
    ``_apply`` therefore keeps each buffer's dtype and only follows the device.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def keep_dtype(tensor: Tensor) -> Tensor:
            # `fn` sees an empty stand-in: where it would move to is followed, what it would cast to is not.
            return tensor.to(device=fn(tensor.new_empty(0)).device)

        return super()._apply(keep_dtype, recurse)

    def add_state(self, name: str, value: Tensor, axes: int = 0) -> None:
        """Register the buffer ``name``; its first ``axes`` dimensions (0, 1 or 2) index losses.

        What belongs to an absent loss, its rows (and columns for ``axes=2``), is not moved by the
        step that it was absent from.
        """
        self.register_buffer(name, value)
        self.__dict__.setdefault("_state_axes", {})[name] = axes

    def loss_axes(self, name: str) -> int:
        """How many leading dimensions of the state ``name`` index losses."""
        axes: dict[str, int] = self.__dict__.get("_state_axes", {})
        return axes.get(name, 0)


def commit(module: nn.Module, write: Callable[[], None], finite: Tensor, present: Tensor | None) -> None:
    """Run ``write`` and keep what it wrote only where ``finite``, and only for ``present`` losses (``None``: all).

    ``finite`` is a scalar and ``present`` a [K] bool tensor. Both stay on the device: nothing here waits for it.
    """
    owners = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    with torch.no_grad():
        write()
        for part, name, _, before in owners:
            now = getattr(part, name)
            keep = finite
            axes = part.loss_axes(name) if isinstance(part, StateModule) else 0
            if axes and present is not None:
                rows = present.view(-1, *[1] * (now.dim() - 1))
                keep = finite & rows
            if axes == 2 and present is not None:
                keep = keep & present.view(1, -1, *[1] * (now.dim() - 2))
            torch.where(keep, now, before, out=now)

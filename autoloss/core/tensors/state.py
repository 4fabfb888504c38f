"""Modules whose state is float32 buffers that no optimiser, cast or rank changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from autoloss.core.tensors.precision import exact


class StateModule(nn.Module):
    """A module whose state moves between devices and never changes its precision.

    ``.half()`` on the model that holds it would round log-variances and Adam moments to 11 bits. Therefore
    ``_apply`` keeps each buffer's dtype and changes only its device. ``to_empty()`` keeps the state too; what was moved
    to the meta device before is NaN until it is loaded.

    ``renamed`` maps the names that state had in an older version to those that it has now, so that a state_dict of
    that version loads.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for before, now in self.renamed.items():
            if prefix + before in state_dict:
                state_dict.setdefault(prefix + now, state_dict.pop(prefix + before))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def keep_dtype(tensor: Tensor) -> Tensor:
            # `fn` gets an empty tensor: we take the device of its result and not the dtype.
            device = fn(tensor.new_empty(0)).device
            if tensor.is_meta and device.type != "meta":
                # Only to_empty() gets here. A number that is not known must not look like one.
                unknown = torch.empty_like(tensor, device=device)
                return unknown.fill_(torch.nan) if tensor.is_floating_point() else unknown.zero_()
            return tensor.to(device=device)

        return super()._apply(keep_dtype, recurse)

    def add_state(self, name: str, value: Tensor, axes: int = 0) -> None:
        """Register the buffer ``name``; its first ``axes`` dimensions (0, 1 or 2) index losses.

        A step leaves the rows (and columns for ``axes=2``) of an absent loss as they were.
        """
        self.register_buffer(name, value)
        self.__dict__.setdefault("_state_axes", {})[name] = axes

    def loss_axes(self, name: str) -> int:
        """How many leading dimensions of the state ``name`` index losses."""
        axes: dict[str, int] = self.__dict__.get("_state_axes", {})
        return axes.get(name, 0)


def on_host() -> AbstractContextManager[object]:
    """Within it new tensors have values, also while a model is built on the meta device: state is small."""
    # get_default_device() of torch 2.6 does not see `with torch.device("meta")`: a new tensor does.
    return torch.device("cpu") if torch.empty(0).device.type == "meta" else nullcontext()


def commit(module: nn.Module, write: Callable[[], None], finite: Tensor, present: Tensor | None) -> None:
    """Run ``write``, which changes buffers of ``module``, and undo the changes if not ``finite``.

    Changes that belong to losses that are not ``present`` are undone too (``None``: all are present). ``finite`` is a
    bool scalar and ``present`` a [K] bool tensor. Both stay on the device: nothing here waits for it.
    """
    with torch.no_grad(), exact(finite.device.type):
        if present is None and finite.device.type == "cpu":
            # Nothing to wait for, and so nothing to undo.
            if finite:
                write()
            return
        for _, keep, now, before in changes(module, write, finite, present):
            torch.where(keep, now, before, out=now)


def changes(
    module: nn.Module, write: Callable[[], None], finite: Tensor, present: Tensor | None
) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Run ``write`` and return, for each buffer of ``module``, where to keep the change, the new and the old values."""
    owners = [
        (path, part, name, buffer.clone())
        for path, part in module.named_modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    write()
    found = []
    for path, part, name, before in owners:
        now, keep = getattr(part, name), finite
        axes = part.loss_axes(name) if isinstance(part, StateModule) else 0
        if axes and present is not None:
            rows = present.view(-1, *[1] * (now.dim() - 1))
            keep = finite & rows
        if axes == 2 and present is not None:
            keep = keep & present.view(1, -1, *[1] * (now.dim() - 2))
        found.append((f"{path}.{name}" if path else name, keep, now, before))
    return found

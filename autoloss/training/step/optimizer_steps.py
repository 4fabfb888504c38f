"""Knows which calls make one optimiser step: they are counted, a hook on the optimiser sees the step, or it is told."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from autoloss.core.errors import ConfigError, require
from autoloss.probe.optimizer_step import unwrapped

OPEN = 1000  # so many calls without a step are a mistake


class OptimizerSteps:
    """Counts optimiser steps (``number``), and the ``calls`` of the open window: the micro-batches of the next step.

    With ``accumulate`` the calls are counted. With :meth:`watch` or ``accumulate=None`` they are not: the window is
    open until the step is seen or told. A copy (an average of a model) watches nothing.
    """

    def __init__(self, accumulate: int | None) -> None:
        require(accumulate is None or accumulate >= 1, "`accumulate` must be at least 1", f"accumulate={accumulate}")
        self.accumulate = accumulate
        self.number = self.calls = 0
        self._watched: Optimizer | None = None
        self._handles: list[Any] = []
        self._inside: int | None = None
        self._scaled = self._backwards = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> OptimizerSteps:
        copy = OptimizerSteps(self.accumulate)
        copy.number, copy.calls = self.number, self.calls
        return copy

    def __reduce__(self) -> Any:
        return _restored, (self.accumulate, self.number, self.calls)

    @property
    def counted(self) -> bool:
        """Whether calls are counted."""
        return self.accumulate is not None and self._watched is None

    @property
    def watched(self) -> bool:
        """Whether a hook sees the steps."""
        return self._watched is not None

    @property
    def accumulates(self) -> bool:
        """Whether a window can have several micro-batches."""
        return not self.counted or (self.accumulate or 1) > 1

    @property
    def complete(self) -> bool:
        """Whether the calls of a counted window are complete."""
        return self.counted and self.calls >= (self.accumulate or 1)

    def watch(self, optimizer: Any, stepped: Callable[[Optimizer], None]) -> None:
        """Call the bound method ``stepped`` after each step of ``optimizer``, and of no other any more."""
        inner = unwrapped(optimizer)
        if not isinstance(inner, Optimizer):
            raise ConfigError(
                f"Only a torch.optim.Optimizer can be watched, but this is a {type(inner).__name__}. Pass "
                "accumulate=None, and call balancer.stepped() after each of its steps."
            )
        for handle in self._handles:
            handle.remove()
        # The optimiser must not keep the balancer alive.
        me, method = weakref.ref(self), weakref.WeakMethod(stepped)

        def before(*_: Any) -> None:
            if (steps := me()) is not None:
                steps._inside = 0

        def after(optimizer: Optimizer, *_: Any) -> None:
            if (steps := me()) is not None and (call := method()) is not None:
                steps._inside = None
                call(optimizer)

        self._watched = inner
        self._handles = [inner.register_step_pre_hook(before), inner.register_step_post_hook(after)]

    def called(self, total: Tensor | None, scale: Tensor | None) -> None:
        """Count a micro-batch with its ``total``, and whether a gradient scaler is in use: does it have a ``scale``?"""
        self.calls += 1
        if self._inside is not None:
            self._inside += 1
        if self._watched is not None and total is not None and _scaled(scale):
            self._scaled += 1
            total.register_hook(self._note_backward)
        if self.calls == OPEN and not self.counted:
            warnings.warn(
                f"An optimiser step should end each accumulation window, but {OPEN} calls had none. Watch the "
                "optimiser that makes the steps, or call balancer.stepped() after each.",
                stacklevel=4,
            )

    def repeats(self) -> bool:
        """Whether this call is a further evaluation within one step, as L-BFGS and line searches make them."""
        return bool(self._inside) and self.calls >= (self.accumulate or 1)

    def skipped(self) -> bool:
        """Whether a gradient scaler skipped the step of the open window: its gradients are gone, but none was made.

        A window whose gradients were zeroed in place looks as if it were still open.
        """
        if self._watched is None or not 0 < self.calls == self._scaled == self._backwards:
            return False
        return all(p.grad is None for group in self._watched.param_groups for p in group["params"])

    def close(self) -> None:
        """The optimiser made its step."""
        self.number += 1
        self.drop()

    def drop(self) -> None:
        """The open window came to nothing."""
        self.calls = self._scaled = self._backwards = 0

    def _note_backward(self, _: Tensor) -> None:
        self._backwards += 1


def _restored(accumulate: int | None, number: int, calls: int) -> OptimizerSteps:
    steps = OptimizerSteps(accumulate)
    steps.number, steps.calls = number, calls
    return steps


def seen_finite(optimizer: Optimizer) -> Tensor | None:
    """Whether a fused optimiser made the step that a scaler asked for, a bool scalar; ``None`` where it did."""
    found = getattr(optimizer, "found_inf", None)
    return found.reshape(()) == 0 if isinstance(found, Tensor) else None


def _scaled(scale: Tensor | None) -> bool:
    if scale is not None:
        return True
    return any(
        torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16 for kind in ("cuda", "cpu")
    )

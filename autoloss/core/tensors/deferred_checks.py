"""Checks of a batch's data whose errors and warnings come later, so that no step waits for the device."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from autoloss.core.errors import EmptySelectionWarning, LabelError


class DeferredChecks:
    """Finds values that break a rule, and selections that are empty.

    On a CPU the error or the warning comes at once. On other devices the first case of each rule stays on the
    device until :meth:`check`, which waits for it. It is called for each block of records, never in a step.
    ``term`` is the loss's name in its problem, for the messages.
    """

    def __init__(self) -> None:
        self.term = ""
        self._wrong: dict[str, Tensor] = {}
        self._empty: dict[str, Tensor] = {}
        self._warned: set[str] = set()

    def forbid(self, rule: str, wrong: Tensor, values: Tensor) -> None:
        """Raise :class:`LabelError`, now or at :meth:`check`, if any value is ``wrong``.

        ``rule`` is the first half of the message ("Labels must ..."); ``wrong`` is a bool tensor of ``values``'s shape.
        """
        if self.at_hand(wrong):
            if bool(wrong.any()):
                raise self._error(rule, float(values[wrong][0]))
            return
        wrong, values = wrong.detach().flatten(), values.detach().flatten()
        first = wrong.int().argmax()
        now = torch.stack([wrong.any().float(), values.take(first).float()])
        before = self._wrong.get(rule)
        self._wrong[rule] = now if before is None else torch.where(before[0] > 0, before, now)

    def remark(self, remark: str, empty: Tensor) -> None:
        """Warn with ``remark``, now or at :meth:`check`, if a selection is ``empty`` (a bool scalar); only once."""
        if remark in self._warned:
            return
        if self.at_hand(empty):
            if bool(empty):
                self._warn(remark)
            return
        before = self._empty.get(remark)
        self._empty[remark] = empty.detach() if before is None else before | empty.detach()

    def within(self, labels: Tensor, count: int) -> bool:
        """Whether all ``labels`` lie in [0, ``count``), where that is quickly known; false otherwise."""
        if not self.at_hand(labels) or not labels.numel():
            return False
        low, high = labels.detach().aminmax()
        return int(low) >= 0 and int(high) < count

    def at_hand(self, tensor: Tensor) -> bool:
        """Whether ``tensor`` can be read without waiting for a device."""
        return tensor.device.type == "cpu"

    def check(self) -> None:
        """Raise the :class:`LabelError` and give the warnings that were put off; waits for the device."""
        wrong, empty = self._wrong, self._empty
        self._wrong, self._empty = {}, {}
        for rule, row in wrong.items():
            seen, value = row.tolist()
            if seen:
                raise self._error(rule, value)
        for remark, seen in empty.items():
            if bool(seen):
                self._warn(remark)

    def _warn(self, remark: str) -> None:
        self._warned.add(remark)
        about = f"Loss {self.term!r}: " if self.term else ""
        warnings.warn(about + remark, EmptySelectionWarning, stacklevel=2)

    def _error(self, rule: str, value: float) -> LabelError:
        found = f"loss {self.term!r} was given {value:g}" if self.term else f"one is {value:g}"
        return LabelError(f"{rule}, but {found}.")

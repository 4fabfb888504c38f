"""Learned weights that start at those of ``auto``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper
from autoloss.weightings.auto import Auto


class FromAuto(Wrapper):
    """Multiplies the weights of the inner weighting by those of ``auto``: ``w_k = v_k a_k``.

    A weighting that learns its weights and begins with equal ones (``auto_lambda``, ``learned``, ``ol_aux``) so
    begins with the weights of ``auto``, and learns what is to be different from them. It is told the slope of its own
    weight, ``dJ/dv_k = a_k dJ/dw_k``. Without an anchor ``auto`` goes by values alone.

    Args:
        norm: exponent of the gradient's norm in ``auto``, at least 0.
    """

    use = "Weights that are learned from held-out data (auto_lambda, learned), where equal ones are a poor start."
    citation = "ours"

    def __init__(self, inner: Weighting, norm: float = 0.5) -> None:
        super().__init__(inner)
        require(norm >= 0, "`norm` must be at least 0", f"norm={norm}")
        twice = any(isinstance(part, FromAuto) for part in inner.modules())
        require(not twice, "Weights can begin with those of auto once", "from_auto is named twice", "Leave one out.")
        self.auto = Auto(norm=norm)
        self.needs = inner.needs | self.auto.needs  # type: ignore[misc]
        # Gradients that the inner weighting cannot do without are not optional.
        required = inner.needs & ~inner.optional & GRADIENTS
        self.optional = (inner.optional | self.auto.optional) & ~required  # type: ignore[misc]

    def needs_at(self, step: int) -> Need:
        return self.inner.needs_at(step) | self.auto.needs_at(step)

    def bind(self, names: Sequence[str]) -> Weighting:
        self.auto.bind(names)
        return super().bind(names)

    def forward(self, signals: Signals) -> Tensor:
        return self.inner(signals) * self.auto(signals)

    def update(self, signals: Signals) -> None:
        told = signals
        if signals.measured_alignment is not None:
            factor = torch.where(signals.present, self.auto(signals), 1.0)
            told = replace(signals, measured_alignment=signals.measured_alignment * factor)
        super().update(told)
        self.auto.update(signals)

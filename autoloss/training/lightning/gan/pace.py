"""Learns which player of a GAN is updated more often, from the discriminator's accuracy."""

from __future__ import annotations

from math import exp, log
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.tensors.ranks import sum_over_ranks

LIMIT = log(20)


class Pace(nn.Module):
    """Leaves out some turns of the stronger player, so that the discriminator's accuracy approaches ``target``.

    The accuracy is the share of pairs in which the discriminator gives the real sample the larger logit. At 0.5 it
    cannot tell them apart; at 1 the generator learns nothing from it. Every ``every`` turns the lead s of the
    discriminator grows by ``rate (accuracy - target)``. The discriminator then takes ``min(1, e^-s)`` of the turns
    and the generator ``min(1, e^s)``, evenly spread, and at least one turn in twenty. This is a proportional
    controller, after BEGAN (Berthelot et al., 2017, arXiv:1703.10717) and the updates by accuracy that practitioners
    use. The accuracy is read from the device once in ``every`` turns.

    Args:
        target: the accuracy to approach, in (0.5, 1).
        rate: how fast the lead is learned, above 0.
        every: number of turns between two readings of the accuracy, at least 1.
    """

    def __init__(self, target: float = 0.8, rate: float = 0.5, every: int = 16) -> None:
        super().__init__()
        require(0.5 < target < 1, "pace.target must lie in (0.5, 1)", f"it is {target}")
        require(rate > 0, "pace.rate must be above 0", f"it is {rate}")
        require(every >= 1, "pace.every must be at least 1", f"it is {every}")
        self.target, self.rate, self.every = target, rate, every
        self.lead, self.turns, self.credit = 0.0, 0, [0.0, 0.0]
        self.register_buffer("seen", torch.zeros(2, dtype=torch.float32))

    seen: Tensor

    def note(self, real: Tensor, fake: Tensor) -> Tensor:
        """Count the discriminator's logits of one batch; returns its accuracy on that batch, a scalar."""
        right = (real.detach() > fake.detach()).float()
        self.seen += torch.stack([right.sum(), right.new_full((), right.numel())])
        return right.mean()

    def turn(self) -> tuple[bool, bool]:
        """Whether the generator is updated in this turn, and whether the discriminator is."""
        if self.turns and self.turns % self.every == 0:
            right, count = sum_over_ranks(self.seen).tolist()
            self.seen.zero_()
            if count:
                self.lead += self.rate * (right / count - self.target)
                self.lead = max(-LIMIT, min(LIMIT, self.lead))
        self.turns += 1
        updated = []
        for i, share in enumerate((min(1.0, exp(self.lead)), min(1.0, exp(-self.lead)))):
            self.credit[i] += share
            updated.append(self.credit[i] >= 1)
            self.credit[i] -= updated[i]
        return updated[0], updated[1]

    def get_extra_state(self) -> dict[str, Any]:
        """The lead and the turns for ``state_dict``."""
        return {"lead": self.lead, "turns": self.turns, "credit": list(self.credit)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The lead and the turns from ``state_dict``."""
        self.lead, self.turns, self.credit = state["lead"], state["turns"], list(state["credit"])

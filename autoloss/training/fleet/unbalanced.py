"""Which units of M members keep their base weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.training.step.player import Player


class MembersUnbalanced:
    """The players' state ``unbalanced``, as one tensor ``units`` [M, K], and which units are declared so.

    What is declared is the same for all members.
    """

    def __init__(self, players: Sequence[Player]) -> None:
        self.players = list(players)
        self.units = torch.stack([player.unbalanced for player in players])

    @property
    def declared(self) -> tuple[bool, ...]:
        """The units that the user or the problem says are not balanced."""
        return self.players[0].declared

    def declare(self, units: Sequence[bool]) -> None:
        """Note the ``units`` that a batch declares not to be balanced."""
        declared = tuple(a or b for a, b in zip(self.declared, units, strict=True))
        if declared != self.declared:
            for player in self.players:
                player.declared = declared
            self.units.logical_or_(flags(declared, self.units.device))

    def note(self, losses: Reduced, reached: Tensor, who: Sequence[bool], items: bool = False) -> None:
        """Note which units ``reached`` the anchor, [K] or [M, K]; only the members ``who`` are told.

        Of a loss that is absent it is not known. With ``items`` one that is given is absent too if it has no items.
        """
        device, players = self.units.device, self.players
        if items:
            here = torch.stack([losses.present[:, list(of)].any(1) for of in players[0].terms.members], 1)
        else:
            here = players[0].reach.here(losses)
        found = torch.where(here, ~reached, self.units).logical_or(flags(self.declared, device)).float()
        self.units = torch.where(flags(tuple(who), device)[:, None], found, self.units)

    def clear(self, who: Sequence[bool]) -> None:
        """All units of the members ``who`` are balanced."""
        self.units = torch.where(flags(tuple(who), self.units.device)[:, None], 0.0, self.units)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all but ``members``."""
        self.players = [self.players[m] for m in members]
        self.units = self.units[torch.tensor(list(members), device=self.units.device)]

    def settle(self) -> None:
        """Write it to the players."""
        for player, own in zip(self.players, self.units, strict=True):
            player.unbalanced.copy_(own)

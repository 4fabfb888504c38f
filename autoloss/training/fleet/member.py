"""One member of a fleet, and whether it can be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import nn
from torch.optim import Optimizer

from autoloss.core.loss import Loss
from autoloss.core.need import HELD_OUT_DATA, Need
from autoloss.core.problem import Problem
from autoloss.core.surgery import Surgery
from autoloss.probe.kernels import refuse_fork
from autoloss.training.fleet.optimizer_kinds import kind_of, signature
from autoloss.training.fleet.own_optimizers import KNOWN, OwnOptimizers
from autoloss.training.fleet.samples import NOT_FOLLOWED
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.step.penalties import Penalties
from autoloss.training.step.player import Player

Fork = Literal["", "features", "parameters"]


class HeldOutBatches(Protocol):
    """Batches of held-out data."""

    def batch(self, step: int) -> Any:
        """The batch of optimiser step ``step``."""


@dataclass(slots=True)
class Member:
    """One training: its network, losses, player and optimiser, all fresh; ``key`` is the caller's name for it.

    The player's losses are those of the problem and the ``penalties``, if there are any: bound to the network.
    A weighting that learns from held-out data has ``held_out`` batches; ``objective`` is what it makes of the
    ``primary`` losses (all if none is named), the same for all members of a fleet. ``fork`` says where the gradients of
    its losses meet: in a fork at the features or at the ``parameters``, or (empty) nowhere.
    """

    problem: Problem
    network: nn.Module
    losses: Mapping[str, Loss]
    player: Player
    optimizer: Optimizer
    scheduler: Any = None
    key: Any = None
    penalties: Penalties | None = None
    held_out: HeldOutBatches | None = None
    primary: Sequence[str] = ()
    objective: str = "log"
    fork: Fork = ""


def check_members(members: Sequence[Member]) -> None:
    """Raise :class:`UnlikeError` unless the ``members`` can be trained as one."""
    first = members[0]
    for member in members:
        player, weighting = member.player, member.player.weighting
        if kind_of(member.optimizer) is OwnOptimizers and (player.nonfinite.skips or Need.ALIGNMENT in weighting.needs):
            who = "on_nonfinite=skip" if player.nonfinite.skips else repr(weighting.title())
            raise UnlikeError(
                f"A fleet with {who} must be trained by {KNOWN}, but a member has {type(member.optimizer).__name__}. "
                "It is trained alone."
            )
        if weighting.needs & HELD_OUT_DATA and member.held_out is None:
            raise UnlikeError(
                f"{weighting.title()!r} needs held-out data, but the member has none. It is trained alone."
            )
        if isinstance(weighting, Surgery) and not member.fork:
            raise UnlikeError(
                f"{weighting.title()!r} combines gradients where they meet, in a fork, but the member has none. It is "
                "trained alone."
            )
        if member.fork:
            refuse_fork(weighting)
        if member.fork != first.fork:
            raise UnlikeError("The gradients of all members must meet in one place, but they differ. Train them apart.")
        if player.samples is not None and player.samples.needs & NOT_FOLLOWED:
            raise UnlikeError(
                f"A fleet does not measure what each sample does, but {player.samples.title!r} learns from that. It is "
                "trained alone."
            )
        if "plateau" in weighting.follows:
            raise UnlikeError(
                f"Members of a fleet have one clock, but {weighting.title()!r} follows plateaus. It is trained alone."
            )
        if signature(member.optimizer) != signature(first.optimizer):
            raise UnlikeError("Members of a fleet must have one kind of optimiser, but they differ. Train them apart.")
        terms, other = player.terms, first.player.terms
        if (terms.names, terms.members, terms.grouped) != (other.names, other.members, other.grouped):
            raise UnlikeError(
                "Members of a fleet must have the same losses and groups, but they differ. Train them apart."
            )
        if player.nonfinite.skips and (player.samples is not None or player.learns_after):
            learner = player.samples.title if player.samples is not None else weighting.title()
            raise UnlikeError(
                f"A member whose batches are left out (on_nonfinite=skip) learns from the others, but {learner!r} "
                "cannot in a fleet. It is trained alone."
            )

"""Trains M members step by step: one forward, K passes to the anchor, one backward, one optimiser step for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError
from autoloss.core.loss import Loss
from autoloss.core.need import GRADIENTS, Need
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.forward import MemberModel, StackedForward
from autoloss.training.fleet.left_out import unchanged
from autoloss.training.fleet.lookahead import FleetLookAhead
from autoloss.training.fleet.member import Member, check_members
from autoloss.training.fleet.notices import warn_of_absent, wrong_labels
from autoloss.training.fleet.optimizer_kinds import kind_of
from autoloss.training.fleet.party import TRIALS, Party
from autoloss.training.fleet.samples import FleetSamples
from autoloss.training.fleet.stacked import Stacked
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.fleet.weigher import FleetWeigher
from autoloss.training.step.penalties import Penalties


class Fleet:
    """M members that are trained as one. They must be of one structure; :class:`UnlikeError` says what is not.

    A member equals the same training alone. Call :meth:`micro_batch` for each batch and :meth:`step` for each optimiser
    step. ``failed`` holds the errors of members whose losses or labels were wrong; :meth:`drop` takes them out.
    ``probe`` says at which steps gradients are compared for the record alone, as for a :class:`Player`. In the first
    ``compared`` steps mapped weightings are compared with those that are called one by one.
    """

    def __init__(
        self,
        members: Sequence[Member],
        accumulate: int = 1,
        clip: Clip | None = None,
        probe: Callable[[int], bool] | None = None,
        compared: int = TRIALS,
    ) -> None:
        self.members = list(members)
        check_members(self.members)
        self.accumulate, self.clip = accumulate, clip or Clip()
        self.models = [MemberModel(one.network, one.losses, one.penalties) for one in self.members]
        self._scheduled = self._with_schedules()
        self.stacked = Stacked(self.models)
        first = self.members[0]
        self.samples = FleetSamples([member.player for member in self.members])
        self.forward = StackedForward(self.stacked, first.problem, first.player, self.samples, first.fork)
        kind = kind_of(first.optimizer)
        self.optimizer = kind(
            [member.optimizer for member in self.members],
            list(self.stacked.parameters.values()),
            [list(model.parameters()) for model in self.models],
        )
        for member in self.members:
            member.optimizer._opt_called = True  # type: ignore[attr-defined]  # its scheduler would warn
        self.weigher = FleetWeigher(self.members, self.stacked, self.samples, accumulate, probe, compared)
        self.ahead = FleetLookAhead(self.members, self.forward, self.optimizer, accumulate)
        self.failed: dict[int, AutolossError] = {}
        self._remarked: set[tuple[str, str]] = set()
        self.weighed: StackedWeighed | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def parties(self) -> list[tuple[list[int], Party]]:
        """The members whose weightings are of one structure, and these weightings."""
        return self.weigher.parties

    def micro_batch(self, batch: Any, clock: Clock) -> StackedWeighed:
        """Weigh the losses of ``batch`` [M, B, ...] and add the gradients of the totals."""
        needs = least = GRADIENTS if self.weigher.probes(clock.step) else Need(0)
        for member in self.members:
            needs |= member.player.weighting.needs_at(clock.step)
            least |= member.player.weighting.needs_here(clock.step, anchored=False)
            member.player.terms.follow(clock.progress)
        self._follow(clock.progress)
        moment = self.ahead.moment(clock.step)
        anchored, kernels = bool(needs & GRADIENTS), Need.KERNEL in needs
        forward = self.forward(batch, clock, anchored, optional=not least & GRADIENTS, kernels=kernels)
        needs = needs if forward.anchor or forward.fork is not None else least
        self.failed = wrong_labels(forward) | self.failed
        warn_of_absent(forward, [member.player for member in self.members], self._remarked)
        weighed = self.weigher.weigh(forward, clock, needs)
        self.failed = self.weigher.failed | self.failed
        self.ahead.note(batch, moment, weighed)
        self.weighed = weighed
        return weighed

    def step(self) -> None:
        """Let the weightings learn from the window, and make the optimiser's step."""
        self.samples.learn()
        assert self.weighed is not None
        step = self.weighed.layout.clock.step
        self.ahead.begin(step)
        if self.clip.apply([of.grad for of in self.stacked.parameters.values() if of.grad is not None]):
            self.ahead.clipped()
        with unchanged(self.optimizer, self.weigher.idle):
            self.optimizer.step()
        self.weigher.learn(self.ahead.outcome(step))
        self.failed = self.ahead.failed | self.failed
        for member in self.members:
            if member.scheduler is not None:
                member.scheduler.step()

    def drop(self, members: Sequence[int]) -> list[Member]:
        """Take ``members`` out and return them; the others are as before."""
        self.settle()
        kept = [i for i in range(len(self)) if i not in set(members)]
        gone = [self.members[i] for i in members]
        self.members = [self.members[i] for i in kept]
        self.models = [self.models[i] for i in kept]
        self._scheduled = self._with_schedules()
        self.failed = {}
        if not kept:
            return gone
        self.stacked.keep(kept)
        self.samples.keep(kept)
        self.forward.player = self.members[0].player
        self.optimizer.keep(kept, list(self.stacked.parameters.values()))
        self.ahead.keep(self.members)
        self.weigher.keep(kept)
        return gone

    def settle(self) -> None:
        """Write to the members' own players what the fleet keeps for them."""
        self.weigher.settle()

    @contextmanager
    def optimizer_state(self, m: int) -> Iterator[None]:
        """Within it the optimiser of member ``m`` has the state that the fleet keeps for it."""
        own, pairs = self.members[m].optimizer, zip(self.models[m].parameters(), self.optimizer.state, strict=True)
        lent: dict[Tensor, Any] = {of: self.optimizer.state_of(m, state) for of, state in pairs if state}
        own.state.update(lent)
        try:
            yield
        finally:
            for parameter in lent:
                del own.state[parameter]

    def _with_schedules(self) -> list[Loss | Penalties]:
        losses = [part for model in self.models for part in model.parts() if part.schedules]
        penalties = [of for of in (member.penalties for member in self.members) if of is not None and of.scheduled]
        return [*losses, *penalties]

    def _follow(self, progress: float) -> None:
        """Set the numbers of losses and penalties that have a schedule."""
        for part in self._scheduled:
            part.follow(progress)
        if self._scheduled:
            self.stacked.read_numbers()

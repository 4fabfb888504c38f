"""Measures what an optimiser step did: to the losses of its own batch, and to those of held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from autoloss.core.errors import AutolossError, SignalError
from autoloss.core.measured.signal import AfterStep
from autoloss.core.need import Need
from autoloss.core.signals import AFTER_STEP
from autoloss.core.table import Reduced
from autoloss.probe.lookahead import Moment, drawing, evaluating
from autoloss.probe.shortcuts import Constants
from autoloss.training.fleet.batches import stacked as stack
from autoloss.training.fleet.forward import Forward, StackedForward
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.optimizers import StackedOptimizer
from autoloss.training.fleet.stacked import Stacked
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.fleet.step_taken import StepTaken
from autoloss.training.fleet.weighing import collected, gathered
from autoloss.training.step.held_out_objective import HeldOutObjective

OWN_NUMBERS = 0x5EED  # the random numbers of a held-out batch are its own, as alone


@dataclass(frozen=True, slots=True)
class Look:
    """A micro-batch of the window: its batch, the random generators before its forward, and what was weighed.

    ``drew`` says that the forward drew random numbers.
    """

    batch: Any
    moment: Moment
    weighed: StackedWeighed
    drew: bool


class FleetLookAhead:
    """Measures the outcome of a step for the members whose weightings learn from it; the others pay nothing.

    Copies of those members are called, so that nothing here has an effect on the training. Where a forward draws random
    numbers all members are called, because a part of them would draw others. ``accumulate`` micro-batches make a step.
    """

    def __init__(
        self, members: Sequence[Member], forward: StackedForward, optimizer: StackedOptimizer, accumulate: int
    ) -> None:
        self.members, self.accumulate = list(members), accumulate
        self.forward, self.optimizer = forward, optimizer
        self.failed: dict[int, AutolossError] = {}  # members whose held-out losses have no logarithm
        self.checked = False  # whether the losses that were computed again were found to be those of the step
        self._looks: list[Look] = []
        self._taken: StepTaken | None = None

    def moment(self, step: int) -> Moment | None:
        """The random generators before a forward of ``step``, if its outcome is to be measured."""
        if not any(member.player.looks_ahead(step) for member in self.members):
            return None
        return Moment.now(next(iter(self.forward.stacked.parameters.values())).device)

    def note(self, batch: Any, moment: Moment | None, weighed: StackedWeighed) -> None:
        """Keep a micro-batch; ``moment`` is that before its forward, ``None`` if nothing is to be measured."""
        if moment is not None:
            self._looks.append(Look(batch, moment, weighed, _drew(moment)))

    def begin(self, step: int) -> None:
        """Optimiser step number ``step`` begins: the gradients are there, and are not clipped yet."""
        who = self._who(step, Need.ALIGNMENT)
        self._taken = StepTaken(self.optimizer, self.forward.stacked, who) if who and self._looks else None

    def clipped(self) -> None:
        """The gradients were clipped."""
        if self._taken is not None:
            self._taken.clipped()

    def outcome(self, step: int) -> list[tuple[AfterStep, Tensor | list[Tensor]]]:
        """The signals after ``step``: [M, K] of the window, or of each micro-batch. Who needs none has any number."""
        taken, self._taken = self._taken, None
        looks, self._looks = self._looks, []
        found: list[tuple[AfterStep, Tensor | list[Tensor]]] = []
        for signal in AFTER_STEP if looks else ():
            who = self._who(step, signal.need, looks)
            if who and (value := signal.measure(_Outcome(self, step, who, looks, taken))) is not None:
                spread = [self._spread(one, who, signal) for one in ([value] if isinstance(value, Tensor) else value)]
                found.append((signal, spread[0] if isinstance(value, Tensor) else spread))
        return found

    def keep(self, members: Sequence[Member]) -> None:
        """The members that are left, between two steps."""
        self.members, self._looks, self._taken, self.failed = list(members), [], None, {}

    def _who(self, step: int, need: Need, looks: Sequence[Look] = ()) -> list[int]:
        who = [m for m, member in enumerate(self.members) if need in member.player.looks_ahead(step)]
        drew = any(look.drew for look in looks or self._looks)
        return list(range(len(self.members))) if who and drew and need != Need.HELD_OUT else who

    def _spread(self, value: Tensor, who: Sequence[int], signal: AfterStep) -> Tensor:
        if len(who) == len(self.members):
            return value
        found = value.new_full((len(self.members), *value.shape[1:]), signal.absent)
        found[torch.tensor(list(who), device=value.device)] = value
        return found


@dataclass
class _Outcome:
    """What optimiser step ``step`` did to the members ``who``; all tensors are [m, ...] of these members."""

    ahead: FleetLookAhead
    step: int
    who: Sequence[int]
    looks: Sequence[Look]
    taken: StepTaken | None
    at: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.at = torch.tensor(list(self.who), device=self.looks[0].weighed.weights.device)

    def again(self) -> list[Tensor]:
        found = []
        part = self.ahead.forward.stacked.part(self.who)
        for look in self.looks:
            with drawing(look.moment), torch.no_grad():
                again = self._forward(look, part)
            found.append(self._gathered(again.losses)[0])
        return found

    def held_out(self) -> tuple[Tensor, Tensor]:
        part, forward = self.ahead.forward.stacked.part(self.who), self.ahead.forward
        with drawing(self._own()), torch.no_grad(), evaluating(part.modules[0]):
            found = forward(self._held_out_batch(), self._last.layout.clock, False, part)
        return self._gathered(found.losses)

    def alignment(self) -> Tensor | None:
        if self.taken is None:
            return None
        number = len(self.looks)
        direction = self.taken.direction(self._descent(), number / self.ahead.accumulate)
        found = [self._slopes(look, direction) for look in self.looks]
        return collected((torch.stack(found).sum(0) / number).float(), self._base(), self._last.layout)

    @property
    def _last(self) -> StackedWeighed:
        return self.looks[-1].weighed

    def _descent(self) -> dict[str, Tensor]:
        """The gradient of the held-out objective of each member, by parameter."""
        part, forward, layout = self.ahead.forward.stacked.part(self.who), self.ahead.forward, self._last.layout
        with drawing(self._own()), torch.enable_grad():
            losses = forward(self._held_out_batch(), layout.clock, False, part).losses
        base = self._base()
        terms = layout.terms if base is None else layout.terms.with_base(base.unbind(1))
        member = self.ahead.members[0]
        total = HeldOutObjective(terms, member.primary, member.objective, self._see).of(losses).sum()
        here = {name: of for name, of in part.parameters.items() if of.requires_grad}
        found = torch.autograd.grad(total, list(here.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(here, found, strict=True))

    def _slopes(self, look: Look, direction: dict[str, Tensor]) -> Tensor:
        """The derivatives [m, N] of a micro-batch's losses along ``direction``, where the step began."""
        assert self.taken is not None
        with drawing(look.moment), forward_ad.dual_level(), torch.enable_grad():
            duals = {
                name: forward_ad.make_dual(of, direction[name]) if name in direction else of
                for name, of in self.taken.parameters.items()
            }
            part = self.ahead.forward.stacked.part(self.who, duals)
            with Constants(), sdpa_kernel(SDPBackend.MATH):
                scalars = self._forward(look, part).losses.scalars
            pairs = [None if one is None else forward_ad.unpack_dual(one) for one in scalars]
            values = [None if pair is None else pair.primal.detach() for pair in pairs]
            slopes = [None if pair is None or pair.tangent is None else pair.tangent.detach() for pair in pairs]
        if not self.ahead.checked:
            self._check(look, values)
            self.ahead.checked = True
        zero = torch.zeros_like(next(one for one in values if one is not None))
        return torch.stack([zero if slope is None else slope.to(zero.dtype) for slope in slopes], 1)

    def _check(self, look: Look, values: Sequence[Tensor | None]) -> None:
        names, before = look.weighed.layout.terms.names, look.weighed.losses.scalars
        for name, again, first in zip(names, values, before, strict=True):
            if again is not None and first is not None:
                then = first[self.at]
                close = torch.isclose(again, then, rtol=1e-9 if then.dtype == torch.float64 else 2e-2, atol=1e-6)
                if bool((close | ~then.isfinite()).all()):
                    continue
            elif again is first:
                continue
            raise SignalError(
                f"A look-ahead must compute the losses of the step again, but {name!r} is another one. Compute them "
                "from the same batch and the network that is passed in, with no other effect."
            )

    def _held_out_batch(self) -> Any:
        """The held-out batches of the step, stacked; a member without held-out data has those of another."""
        sources = [self.ahead.members[m].held_out for m in self.who]
        known = next(source for source in sources if source is not None)
        return stack([(source or known).batch(self.step) for source in sources])

    def _see(self, values: Tensor) -> None:
        """Look at the held-out units [K, m] of each member; one whose logarithm cannot be taken fails alone."""
        for m, of in zip(self.who, values.unbind(1), strict=True):
            try:
                self.ahead.members[m].player.nonfinite.see_held_out(of)
            except AutolossError as error:
                self.ahead.failed[m] = error

    def _own(self) -> Moment:
        return Moment.seeded(self.looks[0].moment.where, OWN_NUMBERS + self.step)

    def _base(self) -> Tensor | None:
        base: Tensor | None = self._last.numbers.get("base")
        return None if base is None else base[self.at]

    def _gathered(self, losses: Reduced) -> tuple[Tensor, Tensor]:
        """The units' losses [m, K], and which of them are present."""
        values, _, present = gathered(losses, self._base(), self._last.layout)
        return values, present

    def _forward(self, look: Look, part: Stacked) -> Forward:
        """The losses of a micro-batch again, its samples with the weights that they had."""
        sampled = look.weighed.sampled
        weights = {} if sampled is None else dict(zip(sampled.seen.terms, sampled.weights, strict=True))
        batch, weights = self._chosen(look.batch), self._chosen(weights)
        return self.ahead.forward(batch, look.weighed.layout.clock, False, part, weights)

    def _chosen(self, batch: Any) -> Any:
        if len(self.who) == len(self.ahead.members):
            return batch
        return pytree.tree_map(lambda tensor: tensor[self.at.to(tensor.device)], batch)


def _drew(moment: Moment) -> bool:
    now = Moment.now(moment.where)
    same = torch.equal(now.host, moment.host)
    return not (same and (now.device is None or moment.device is None or torch.equal(now.device, moment.device)))

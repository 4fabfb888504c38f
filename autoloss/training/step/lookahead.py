"""Measures the effect of an optimiser step: on its own losses, or on a held-out objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from autoloss.core.errors import ConfigError
from autoloss.core.loss import Loss
from autoloss.core.need import Need, SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.table import LossTable, Reduced
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.core.weighting import Weighting
from autoloss.probe.clipping import shares
from autoloss.probe.descent import gradient_of
from autoloss.probe.implicit import Implicit, hessian_of
from autoloss.probe.lookahead import Moment, evaluating, replayed
from autoloss.probe.optimizer_step import OptimizerStep
from autoloss.probe.slopes import Slopes
from autoloss.probe.turning import rounding, turning
from autoloss.training.step.held_out_objective import HeldOutObjective
from autoloss.training.step.loss_numbers import learned_numbers
from autoloss.training.step.player import Player
from autoloss.training.step.same_losses import agree, check_same
from autoloss.training.step.sample_weights import Sampled, applied
from autoloss.training.step.weigh import Weighed

Table = Callable[[], LossTable]
OTHER_DROPOUT = "Attention's kernel with a forward derivative drops out other weights than the kernel of the step"


class LookAhead:
    """Computes the losses of one optimiser step's micro-batches again after the step, for ``player``.

    ``network`` must hold every parameter that is stepped. The losses are computed again within ``forward_context()``
    (autocast). ``micro_batches`` make a step; the gradient of the step is their mean. ``objective`` is the kind of
    :class:`HeldOutObjective`, over the ``primary`` losses (default: all). With ``implicit``, the effect of a weight is
    measured on converged parameters instead of on those after the step.
    """

    def __init__(
        self,
        player: Player,
        network: nn.Module,
        primary: Sequence[str] = (),
        micro_batches: int = 1,
        forward_context: Callable[[], AbstractContextManager[object]] = nullcontext,
        implicit: Implicit | None = None,
        objective: str = "log",
    ) -> None:
        self.player, self.network, self.implicit = player, network, implicit
        self.micro_batches, self.forward_context = micro_batches, forward_context
        self.objective = HeldOutObjective(player.terms, primary, objective, player.nonfinite.see_held_out)
        self._looks: list[tuple[Moment, Table]] = []
        self._checked = False

    @cached_property
    def slopes(self) -> Slopes:
        """Measures derivatives of losses along a direction."""
        return Slopes(self.network)

    def __len__(self) -> int:
        return len(self._looks)

    def note(self, moment: Moment, table: Table) -> None:
        """Keep the function that computes a micro-batch's losses again, and the random numbers of its forward."""
        self._looks.append((moment, table))

    def check_numbers(self, table: Table) -> None:
        """Raise :class:`ConfigError` for a learned number that its loss, in ``table()``, has no derivative for."""
        if self.player.numbers is not None:
            moment = Moment.now(self.player.last.device)
            with replayed(self.network, moment, graph=True), self.forward_context():
                self.player.numbers.check(table)

    def drop(self) -> None:
        """Forget the window's micro-batches: its step is given up."""
        self._looks = []
        self.player.forget()

    def foresee(self, step: int, moment: Moment, table: Table, held_out: Table) -> None:
        """Measure the effect of each sample of a micro-batch on the held-out objective, before it is weighed."""
        samples = self.player.samples
        assert samples is not None
        at: dict[Tensor, Tensor] = {p: p.detach() for p in self.network.parameters() if p.requires_grad}
        with replayed(self.network, Moment.seeded(moment.where, 0x5EED + step), graph=True), self._fixed():
            direction = gradient_of(partial(self._objective, held_out), self.network)
        found: list[str] = []
        with replayed(self.network, moment, graph=True):
            _, slopes = self.slopes.along(partial(self._each, table, samples.names, found), at, direction)
        samples.foresee({name: s.detach().float() for name, s in zip(found, slopes, strict=True) if s is not None})

    def _each(self, table: Table, names: Sequence[str], found: list[str]) -> list[Tensor]:
        with self.forward_context():
            made = table()
        entries = {name: entry for name in names if (entry := made.entry(name)) is not None and entry.values.dim()}
        found[:] = entries
        return [torch.where(present, values, 0.0) for values, present in (e.each() for e in entries.values())]

    def look(self, step: int, optimizer_step: OptimizerStep | None, held_out: Table | None) -> None:
        """Measure what the player's weighting needs after optimiser step number ``step``, and give it to the player."""
        looks, self._looks = self._looks, []
        try:
            self.player.observe(step, _Outcome(self, step, looks, optimizer_step, held_out))
        except BaseException:
            self.drop()
            raise

    def units_again(self, looks: Sequence[tuple[Moment, Table]]) -> list[Tensor]:
        """The losses [K] of the micro-batches' units, with the parameters as they are now."""
        found = []
        for (moment, table), weighed in zip(looks, self.player.window.steps, strict=True):
            with replayed(self.network, moment), self.forward_context():
                again = table()
            found.append(self._units(applied(again, weighed.sampled))[0])
        return found

    def units_held_out(self, step: int, held_out: Table) -> tuple[Tensor, Tensor]:
        """The losses [K] of a held-out batch as in a validation (no dropout), and which of them it has [K]."""
        seeded = Moment.seeded(self.player.last.device, 0x5EED + step)
        with replayed(self.network, seeded), evaluating(self.network), self._fixed(), self.forward_context():
            table = held_out()
        return self._units(table)

    def _units(self, table: LossTable) -> tuple[Tensor, Tensor]:
        values, _, present = self.player.terms.gather(table.reduced(self.player.terms.names))
        return values, present

    def alignment(
        self, step: int, looks: Sequence[tuple[Moment, Table]], optimizer_step: OptimizerStep, held_out: Table
    ) -> Tensor | None:
        """How fast the held-out objective falls with the effective weight of each loss, [N], if the weighting asks.

        Learned numbers of losses see how fast it falls with them, if the weights stay what they are, and the gradient's
        length: a number is to change where the step goes, not how far. Converged parameters do not depend on it.
        """
        _check_parameters(self.network, optimizer_step)
        device = self.player.last.device
        # Random numbers of its own: the next training forward must not draw the same dropout masks.
        with replayed(self.network, Moment.seeded(device, 0x5EED + step), graph=True):
            with self._fixed():
                gradient = gradient_of(partial(self._objective, held_out), self.network)
            if self.implicit is None:
                parts, scale = self._parts()
                direction = optimizer_step.jacobian_times(gradient, scale)
            else:
                # Where training settles does not depend on how its gradients are clipped.
                parts = [self._share(weighed) for weighed in self.player.window.steps]
                direction = self._converged(self.implicit, looks, gradient)
        found = None
        if aligned := Need.ALIGNMENT in self.player.weighting.needs_at(step):
            slopes = self._slopes(looks, parts, optimizer_step.before, direction)
            found = sum_over_ranks(torch.stack(slopes).detach().sum(0)) / world_size()
        if (numbers := self.player.numbers) is not None and numbers.turn(step, aligned):
            gradients = optimizer_step.gradients if self.implicit is None else {}
            turned = turning(direction, gradients)
            with numbers.leaves() as leaves:
                slopes = self._slopes(looks, parts, optimizer_step.before, turned)
            pulls = [self._pull(*pair) for pair in zip(slopes, self.player.window.steps, strict=True)]
            numbers.see(pulls, leaves, rounding(direction, gradients))
        return found

    def _slopes(
        self,
        looks: Sequence[tuple[Moment, Table]],
        parts: Sequence[Tensor | float],
        at: dict[Tensor, Tensor],
        direction: dict[Tensor, Tensor],
    ) -> list[Tensor]:
        """The derivatives of each micro-batch's part of the losses along ``direction``, [N], checked the first time."""
        found = []
        for (moment, table), weighed in zip(looks, self.player.window.steps, strict=True):
            losses, before = partial(self._scalars, table, weighed.sampled), weighed.losses.scalars
            with replayed(self.network, moment, graph=True):
                values, slopes = self.slopes.along(losses, at, direction)
            # A fused optimiser skips a step whose gradients overflowed, without a message.
            if not self._checked and all(bool(v.isfinite().all()) for v in direction.values()):
                if self.slopes.exact and not agree(values, before):
                    with replayed(self.network, moment, graph=True):
                        others = self.slopes.differences(losses, at, direction)
                    if agree(others[0], before, rounded=True):
                        self.slopes.give_up(OTHER_DROPOUT)
                        values, slopes = others
                self._checked = True
                check_same(self.player.terms.names, values, before, rounded=not self.slopes.exact)
            found.append(_stacked(slopes))
        return [part * one for part, one in zip(parts, found, strict=True)]

    def _pull(self, slopes: Tensor, weighed: Weighed) -> Tensor:
        """How fast a micro-batch's total makes the objective fall: a function of the learned numbers."""
        return (slopes * torch.where(weighed.losses.present, weighed.weights, 0.0)).sum()

    def _fixed(self) -> AbstractContextManager[object]:
        """Within it learned numbers are those that they began with: in an objective they would only make it smaller."""
        numbers = self.player.numbers
        return nullcontext() if numbers is None else numbers.starting()

    def _share(self, weighed: Weighed) -> Tensor | float:
        """The part of a micro-batch's losses in the step's objective, [N] where the window's items are known."""
        return 1 / self.micro_batches if weighed.share is None else weighed.share

    def _parts(self) -> tuple[list[Tensor | float], Tensor | float]:
        """The part of each micro-batch's losses in the step's gradient over the scale of that gradient, and the scale.

        Where the number of the window's items is known, the gradient is the sum of the totals, which hold the shares.
        """
        steps = self.player.window.steps
        parts, scale = shares([one.received for one in steps], self.micro_batches)
        if all(one.share is None for one in steps):
            return parts, scale
        if not isinstance(scale, Tensor):
            return [self._share(one) for one in steps], scale
        number = len(steps)
        found = [
            part * number if one.share is None else part * number * one.share
            for part, one in zip(parts, steps, strict=True)
        ]
        return found, scale / number

    def _converged(
        self, implicit: Implicit, looks: Sequence[tuple[Moment, Table]], gradient: dict[Tensor, Tensor]
    ) -> dict[Tensor, Tensor]:
        """The direction ``H^-1 gradient``, which gives the effect of weights on converged parameters."""
        return implicit.solve(hessian_of(partial(self._total, looks), self.network), gradient)

    def _total(self, looks: Sequence[tuple[Moment, Table]]) -> Tensor:
        parts = []
        for (moment, table), weighed in zip(looks, self.player.window.steps, strict=True):
            moment.restore()
            scalars = self._scalars(table, weighed.sampled)
            weights = (weighed.weights * self._share(weighed)).unbind()
            parts += [w * s for w, s in zip(weights, scalars, strict=True) if s is not None]
        return torch.stack(parts).sum()

    def _scalars(self, table: Table, sampled: Sequence[Sampled] = ()) -> tuple[Tensor | None, ...]:
        return self._reduced(table, sampled).scalars

    def _objective(self, held_out: Table) -> Tensor:
        return self.objective.of(self._reduced(held_out))

    def _reduced(self, table: Table, sampled: Sequence[Sampled] = ()) -> Reduced:
        with self.forward_context():
            made = table()
        return applied(made, sampled).reduced(self.player.terms.names)


@dataclass(frozen=True)
class _Outcome:
    """Measures what optimiser step ``step`` did, on its micro-batches ``looks`` and on held-out data."""

    look_ahead: LookAhead
    step: int
    looks: Sequence[tuple[Moment, Table]]
    optimizer_step: OptimizerStep | None
    held_out_table: Table | None

    def again(self) -> list[Tensor]:
        return self.look_ahead.units_again(self.looks)

    def alignment(self) -> Tensor | None:
        if not self.optimizer_step or not self.looks:
            return None
        assert self.held_out_table is not None
        slopes = self.look_ahead.alignment(self.step, self.looks, self.optimizer_step, self.held_out_table)
        return None if slopes is None else self.look_ahead.player.terms.collect(slopes.detach().float())

    def held_out(self) -> tuple[Tensor, Tensor]:
        assert self.held_out_table is not None
        return self.look_ahead.units_held_out(self.step, self.held_out_table)


def differentiates(
    weighting: Weighting, sample_weighting: SampleWeighting | None, losses: Mapping[str, Loss] | None = None
) -> bool:
    """Whether one of them learns from derivatives of held-out losses, with respect to its weights or numbers."""
    by_sample = sample_weighting is not None and SampleNeed.ALIGNMENT in sample_weighting.needs
    return by_sample or Need.ALIGNMENT in weighting.needs or bool(learned_numbers(losses or {}))


def _stacked(slopes: Sequence[Tensor | None]) -> Tensor:
    here = [slope for slope in slopes if slope is not None]
    zero = torch.zeros_like(torch.stack(here).sum())
    return torch.stack([zero if slope is None else slope.to(zero.dtype) for slope in slopes])


def _check_parameters(network: nn.Module, optimizer_step: OptimizerStep) -> None:
    known = set(network.parameters())
    missing = [p for p in optimizer_step.before if p.grad is not None and p not in known]
    if missing:
        raise ConfigError(
            "A look-ahead's network must hold every parameter that is stepped, but it lacks "
            f"{len(missing)} of them, one of shape {list(missing[0].shape)}. "
            "Pass a module that holds them all: torch.nn.ModuleList([trunk, heads])."
        )

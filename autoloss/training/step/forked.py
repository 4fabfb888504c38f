"""A step whose gradients meet in a fork: its weights are known when the backward has reached the fork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.distributed as dist
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.need import GRADIENTS
from autoloss.core.problem import Problem
from autoloss.core.surgery import Surgery
from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.core.tensors.precision import full_precision
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe.fork import Fork, Place
from autoloss.probe.fork_measure import measure_at_fork
from autoloss.probe.gradients import Measured
from autoloss.probe.kernels import refuse_fork
from autoloss.training.step.contract import weights_of
from autoloss.training.step.item_counts import Items, shares
from autoloss.training.step.weigh import Weighed, see, weighted_sum


def check_forked(anchor: object, problem: Problem) -> None:
    """Raise :class:`ConfigError` unless ``anchor`` is a fork, where a training of ``problem`` needs one."""
    if not isinstance(anchor, Fork):
        raise ConfigError(
            f"A fork needs a problem that computes each term from its own copy of the features, but "
            f"{problem.title()!r} does not. Write copies, anchor = self.branch(features) in outputs(), "
            "compute each term from its copy, and return the anchor."
        )


def look(
    fork: Fork, losses: Reduced, terms: Terms, declared: tuple[bool, ...], through: dict[str, bool]
) -> tuple[bool, ...] | None:
    """Find out which units are computed from copies of ``fork``; look only at losses that are not in ``through`` yet.

    ``None`` if all losses were known. Units that are ``declared`` unbalanced may use the features themselves.
    """
    if tuple(fork) != terms.names:
        raise SignalError(
            f"A fork must have a copy for each loss ({', '.join(terms.names)}), but it has {', '.join(fork)}. "
            "Make it with the balancer that weighs these losses."
        )
    fresh = {n: s for n, s in zip(terms.names, losses.scalars, strict=True) if s is not None and n not in through}
    if not fresh:
        return None
    fork.expect_graph()
    for unit, members in enumerate(terms.members):
        names = [terms.names[i] for i in members]
        for name in (name for name in names if name in fresh):
            through[name] = fork.carries(name, fresh[name], names, past=declared[unit])
        ways = {through[name] for name in names if name in through}
        if len(ways) > 1 and not declared[unit]:
            astray = next(name for name in names if not through.get(name, True))
            raise SignalError(
                f"The losses of a group must come through a fork together, but {astray!r} of group "
                f"{terms.units[unit]!r} does not. Take it out of the group."
            )
    if not any(through.values()):
        raise SignalError("At least one loss must be computed from its copy of a fork's features, but none is.")
    return tuple(any(through.get(terms.names[i], False) for i in members) for members in terms.members)


def weigh_forked(
    losses: Reduced, fork: Fork, terms: Terms, clock: Clock, unbalanced: Tensor, items: Items | None = None
) -> Weighed:
    """Sum ``losses`` with base weights and add the token of ``fork``; nothing is measured yet.

    The heads get these ``weights``. Units that are ``unbalanced`` ([K] bool) are absent to the weighting. ``items`` is
    the number of items of the window, if it is given.
    """
    values, counts, present = terms.gather(losses)
    weights = torch.where(losses.present, terms.factors(values.device), 0.0)
    signals = see(terms, clock, values, present > unbalanced)
    share = None if items is None else shares(losses, terms.names, items)
    total = weighted_sum(losses, weights if share is None else weights * share) + fork.token
    return Weighed(total, weights, losses, signals, counts, share=share)


@dataclass(frozen=True)
class Met:
    """The gradients [...] at the copies of a fork, one for each loss, ``None`` where a copy got no gradient.

    They include the base weights, the ``scale`` of the total, and the ``share`` [N] of the window's items, if it is
    known.
    """

    gradients: Sequence[Tensor | None]
    scale: Tensor
    place: Place
    share: Tensor | None = None

    def reached(self, terms: Terms) -> tuple[bool, ...]:
        """Which units have a gradient at the fork; a base weight of 0 makes it 0, so that it cannot be told."""
        here = [g is not None and base != 0 for g, base in zip(self.gradients, terms.base, strict=True)]
        return tuple(any(here[i] for i in members) for members in terms.members)

    @cached_property
    def stacked(self) -> Tensor:
        """The gradients as rows [N, P], zeros where a copy got no gradient."""
        place = self.place
        zeros = (
            [torch.zeros(place.shape, dtype=place.dtype, device=place.device)]
            if any(g is None for g in self.gradients)
            else []
        )
        rows = torch.stack([zeros[0] if gradient is None else gradient for gradient in self.gradients])
        return rows.to(torch.promote_types(rows.dtype, torch.float32)).reshape(len(rows), -1)

    def rows(self, terms: Terms) -> Tensor:
        """The gradient of each unit, [K, P], with base weights, without scale and share."""
        rows = self.stacked
        if self.share is not None:
            rows = rows / self.share.where(self.share != 0, 1.0)[:, None]
        if any(terms.grouped):
            rows = torch.stack([torch.stack([rows[i] for i in of]).sum(0) for of in terms.members])
        # If the total was multiplied by 0, the gradients are 0, not 0 / 0.
        return rows / self.scale.where(self.scale != 0, 1.0)

    def shown(self, terms: Terms) -> Tensor:
        """The rows [K, P] as a weighting sees them: of a loss on its own without its base weight."""
        rows = self.rows(terms)
        if terms.plain:
            return rows
        alone = tuple(
            1.0 if grouped else _or_one(terms.whole[members[0]])
            for grouped, members in zip(terms.grouped, terms.members, strict=True)
        )
        return rows / terms.on_device(alone, rows.device)[:, None]

    def weighted(self, factors: Tensor) -> Tensor:
        """The sum of the gradients times ``factors`` [N]."""
        with full_precision(self.place.device.type):
            return (factors.to(self.stacked.dtype) @ self.stacked).reshape(self.place.shape)


def combine(
    weighed: Weighed,
    met: Met,
    weighting: Weighting,
    terms: Terms,
    unbalanced: Tensor,
    declared: tuple[bool, ...],
    group: dist.ProcessGroup | None,
    probe: bool = False,
    keep_rows: bool = False,
) -> tuple[Weighed, Tensor]:
    """Measure what ``weighting`` needs of the gradients that met, ask it for weights, and combine the gradients.

    Returns the step with its signals and the weights of the features' gradient, and that gradient.
    Units that are ``unbalanced`` keep their base weight, also if they are ``declared`` so and use their copies. With
    ``probe``, gradients are compared for the record alone.
    """
    refuse_fork(weighting)
    needs = weighting.needs_at(weighed.clock.step)
    probe = probe and not needs & GRADIENTS
    measured = probed = None
    if probe or needs & GRADIENTS:
        reached = flags(met.reached(terms), weighed.counts.device)
        found = measure_at_fork(met.shown(terms), reached, met.place, GRADIENTS if probe else needs, group, keep_rows)
        measured, probed = (None, found) if probe else (found, None)
    settled, combined = settle(weighed, met, weighting, terms, unbalanced, declared, measured)
    return replace(settled, probed=probed), combined


def settle(
    weighed: Weighed,
    met: Met,
    weighting: Weighting,
    terms: Terms,
    unbalanced: Tensor,
    declared: tuple[bool, ...],
    measured: Measured | None,
) -> tuple[Weighed, Tensor]:
    """The step and the combined gradient of :func:`combine`, from what was ``measured`` of the gradients that met."""
    values, _, present = terms.gather(weighed.losses)
    signals = see(terms, weighed.clock, values, present > unbalanced, measured)
    weights = torch.where(unbalanced, 1.0, weights_of(weighting, signals))
    weights = torch.where(present, weights, 0.0)
    if isinstance(weighting, Surgery):
        rows = met.rows(terms)
        if any(declared):
            rows = rows.where(~flags(declared, rows.device)[:, None], 0.0)
        combined = weighting.combine(rows.reshape(-1, *met.place.shape), signals) * met.scale
        if any(declared):
            combined = combined + met.weighted(_by_loss((present & unbalanced).float(), terms))
    else:
        combined = met.weighted(_by_loss(weights, terms))
    effective = torch.where(weighed.losses.present, terms.spread(weights), 0.0)
    return replace(weighed, weights=effective, signals=signals, measured=measured), combined


def hold(met: Met, weights: Tensor, terms: Terms) -> Tensor:
    """Combine the gradients with the effective ``weights`` [N] of an earlier step."""
    base = terms.factors(weights.device)
    return met.weighted(torch.where(base == 0, 0.0, weights / base))


def _by_loss(units: Tensor, terms: Terms) -> Tensor:
    return torch.stack([units[unit] for unit in terms.unit_of])


def _or_one(base: float) -> float:
    """``base``, or 1 where it is 0: a number, or a tensor where it is learned or of one member of a fleet."""
    return base.where(base != 0, 1.0) if isinstance(base, Tensor) else base or 1.0

"""The losses of all members for their batches: one forward of the stacked networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.core.table import LossTable, Reduced
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.probe.anchor import named
from autoloss.probe.fork import Fork
from autoloss.probe.kernels import residuals as residuals_of
from autoloss.training.fleet.forked import MemberCopies
from autoloss.training.fleet.measure import Residuals
from autoloss.training.fleet.samples import FleetSamples
from autoloss.training.fleet.stacked import Stacked
from autoloss.training.step.entries import table_of
from autoloss.training.step.penalties import Penalised, Penalties
from autoloss.training.step.player import Player
from autoloss.training.step.sample_weights import times


class MemberModel(nn.Module):
    """What has parameters in a member: its network, its losses and its penalties."""

    def __init__(self, network: nn.Module, losses: Mapping[str, Loss], penalties: Penalties | None = None) -> None:
        super().__init__()
        self.network = network
        self.names, self.losses = tuple(losses), nn.ModuleList(losses.values())
        self.penalties = Penalised(penalties or Penalties({}))

    def by_term(self) -> dict[str, Loss]:
        """The losses by term."""
        return dict(zip(self.names, self.losses, strict=True))  # type: ignore[arg-type]

    def parts(self) -> list[Loss]:
        """The losses and the losses within them."""
        return [part for part in self.losses.modules() if isinstance(part, Loss)]


@dataclass(frozen=True, slots=True)
class Forward:
    """The losses of M members, and where their gradients are compared.

    ``losses`` holds [M] scalars and [M, N] tensors. ``anchor`` are features [M, B, ...], or names of parameters;
    ``of_loss`` says which of them each unit is compared at. ``wrong`` holds, by rule, which members have a value that
    breaks it and the first such value, [M, 2]. ``declared`` says which units the problem declares not to be balanced.
    ``empty`` holds, by remark, which members have a batch without anything for a loss, [M]. With a ``fork`` gradients
    meet there, and the anchor is empty. ``residuals`` are those of the samples, for kernels.
    """

    losses: Reduced
    anchor: tuple[Tensor, ...] | tuple[str, ...]
    of_loss: tuple[tuple[int, ...], ...]
    wrong: Mapping[tuple[str, str], Tensor]
    declared: tuple[bool, ...] = ()
    empty: Mapping[tuple[str, str], Tensor] = field(default_factory=dict)
    fork: Fork | None = None
    residuals: Residuals | None = None


class Noted(DeferredChecks):
    """Checks of a batch's data whose outcomes are given to the caller: under vmap nothing can be read."""

    def at_hand(self, tensor: Tensor) -> bool:
        return False

    def forbid(self, rule: str, wrong: Tensor, values: Tensor) -> None:
        wrong, values = wrong.detach().flatten(), values.detach().flatten()
        first = values.gather(0, wrong.int().argmax().view(1))
        self._wrong[rule] = torch.cat([wrong.any().view(1).float(), first.float()])

    def taken(self) -> tuple[dict[tuple[str, str], Tensor], dict[tuple[str, str], Tensor]]:
        """What was wrong since the last call, and what was empty, by term and rule or remark."""
        found = [{(self.term, said): row for said, row in of.items()} for of in (self._wrong, self._empty)]
        self._wrong, self._empty = {}, {}
        return found[0], found[1]


class StackedForward:
    """Computes the losses of M members at once. ``stacked`` are :class:`MemberModel`; ``fork`` is that of a member."""

    def __init__(
        self, stacked: Stacked, problem: Problem, player: Player, samples: FleetSamples, fork: str = ""
    ) -> None:
        self.stacked, self.problem, self.player, self.samples, self.fork = stacked, problem, player, samples, fork
        for model in stacked.modules:
            assert isinstance(model, MemberModel)
            note(model)

    def __call__(
        self,
        batch: Any,
        clock: Clock,
        anchored: bool,
        stacked: Stacked | None = None,
        weights: Mapping[str, Tensor] | None = None,
        optional: bool = False,
        kernels: bool = False,
    ) -> Forward:
        """The losses for ``batch`` [M, B, ...]; the places where gradients are compared are found if ``anchored``.

        Where these are ``optional``, a problem without an anchor has none. With ``kernels`` the residuals of all
        samples are returned, too.
        With ``stacked`` it is the models of these that are called, a part of the members or copies of them, and samples
        have the ``weights`` [m, B] that are given by term, which no rule is asked for.
        """
        layout: dict[str, Any] = {}
        terms, forks = self.player.terms, bool(self.fork) and stacked is None

        def one(model: MemberModel, batch: Any, weights: Mapping[str, Tensor]) -> Any:
            with self.problem.branching(self._branch if forks else None):
                outputs = self.problem.outputs(model.network, batch)
            table = table_of(outputs, model.by_term(), self.player, clock)
            table = self.samples.weigh(table, clock) if stacked is None and self.samples else times(table, weights)
            table = replace(table, entries={**table.entries, **model.penalties.entries(model.network)})
            losses = table.reduced(terms.names)
            here = [i for i, scalar in enumerate(losses.scalars) if scalar is not None]
            if forks:
                layout["fork"] = self._fork_of(table)
            roots = [residuals_of(name, table.entry(name)) for name in terms.names] if kernels else []
            wanted = anchored and not forks and not (optional and table.anchor is None)
            features, names, of_loss = _anchor(table, model, self.player) if wanted else ((), (), ())
            noted = [_taken(part) for part in model.parts()]
            wrong, empty = ({key: row for of in noted for key, row in of[kind].items()} for kind in (0, 1))
            layout.update(here=here, names=names, of_loss=of_loss, features=len(features))
            layout.update(wrong=list(wrong), empty=list(empty))
            layout.update(whole=losses.whole, masked=losses.masked, declared=_declared(table, self.player))
            scalars = [scalar for scalar in losses.scalars if scalar is not None]
            found = [
                losses.values,
                losses.counts,
                losses.present,
                *scalars,
                *features,
                *wrong.values(),
                *empty.values(),
            ]
            known = {name: root for name, (root, _) in zip(terms.names, roots, strict=False) if root is not None}
            return found, known, [count for _, count in roots]

        (values, counts, present, *rest), roots, numbers = (self.stacked if stacked is None else stacked).call(
            one, batch, dict(weights or {})
        )
        residuals = ([roots.get(name) for name in terms.names], torch.stack(numbers, 1)) if kernels else None
        here, features = layout["here"], layout["features"]
        scalars: list[Tensor | None] = [None] * len(terms.names)
        for i, scalar in zip(here, rest, strict=False):
            scalars[i] = scalar
        found = tuple(rest[len(here) : len(here) + features])
        losses = Reduced(
            tuple(scalars), values.detach(), counts.detach(), present, layout["masked"], whole=layout["whole"]
        )
        noted = rest[len(here) + features :]
        wrong = dict(zip(layout["wrong"], noted, strict=False))
        empty = dict(zip(layout["empty"], noted[len(wrong) :], strict=True))
        anchor, fork = layout["names"] or found, layout.get("fork")
        return Forward(losses, anchor, layout["of_loss"], wrong, layout["declared"], empty, fork, residuals)

    def _branch(self, features: Tensor) -> MemberCopies:
        return MemberCopies(features, self.player.terms.names, self.fork == "parameters")

    def _fork_of(self, table: LossTable) -> Fork:
        if isinstance(table.anchor, MemberCopies) and table.anchor.fork is not None:
            return table.anchor.fork
        raise ConfigError(
            "A fork needs a problem that computes each term from its own copy of the features, but "
            f"{self.problem.title()!r} does not. Write copies, anchor = self.branch(features) in outputs(), compute "
            "each term from its copy, and return the anchor."
        )


def note(model: MemberModel) -> None:
    """Replace the checks of the model's losses, which would read what they check."""
    for part in model.parts():
        term, part.notices = part.notices.term, Noted()
        part.notices.term = term


def _taken(part: Loss) -> tuple[dict[tuple[str, str], Tensor], dict[tuple[str, str], Tensor]]:
    return part.notices.taken() if isinstance(part.notices, Noted) else ({}, {})


def _declared(table: LossTable, player: Player) -> tuple[bool, ...]:
    names = player.terms.names
    entries = [[table.entry(names[i]) for i in members] for members in player.terms.members]
    return tuple(any(entry is not None and not entry.balanced for entry in unit) for unit in entries)


def _anchor(
    table: LossTable, model: nn.Module, player: Player
) -> tuple[tuple[Tensor, ...], tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """The features, or the names of the parameters, where gradients are compared, and those of each unit."""
    known = {id(tensor): name for name, tensor in model.named_parameters()}
    tensors, of_loss = named(table.anchor, player.terms.units, player.weighting.title())
    names = [known.get(id(tensor)) for tensor in tensors]
    if all(name is None for name in names):
        return tensors, (), of_loss
    if any(name is None for name in names):
        raise SignalError("An anchor must be features or parameters, but it mixes both. Pass one kind.")
    return (), tuple(name for name in names if name is not None), of_loss

"""Small trainings, in a fleet and alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.clock import Clock
from autoloss.core.need import Need
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.sample_order import EpochShuffle
from autoloss.core.table import Entry, LossTable
from autoloss.probe.lookahead import Moment
from autoloss.probe.optimizer_step import observe_step
from autoloss.problems._tensors import TensorTable
from autoloss.training.fleet.batches import StackedBatches, collated
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.member import Member
from autoloss.training.lightning.loaders import HeldOut
from autoloss.training.step.build import build_loss, build_weighting
from autoloss.training.step.entries import table_of
from autoloss.training.step.lookahead import LookAhead
from autoloss.training.step.penalties import Penalties
from autoloss.training.step.player import Player

SAMPLES, BATCH = 40, 16  # two whole batches and a smaller one in each epoch
MEMBERS = 3


class Three(Problem):
    """Three losses of different kinds and scales.

    ``missing``: one has a mask, and one is often absent; ``aside``: one does not reach the anchor.
    Without ``anchored`` there is none.
    """

    terms = {"kind": "cross_entropy", "size": "mse", "code": None}
    metrics = {"error": "min", "size_mse": "min"}

    def __init__(
        self,
        missing: bool = False,
        parameters: bool = False,
        normalised: bool = False,
        aside: bool = False,
        anchored: bool = True,
    ) -> None:
        super().__init__()
        self.aside, self.anchored = aside, anchored
        self.missing, self.parameters, self.normalised = missing, parameters, normalised
        self.calls = 0

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2 * SAMPLES, 5, generator=generator)
        target = x @ torch.randn(5, 3, generator=generator)
        columns = {"x": x, "kind": target.argmax(1), "size": 10 * target[:, :2], "known": x[:, 0] > 0}
        return {
            split: TensorTable(**{name: of[rows] for name, of in columns.items()})
            for split, rows in {"train": slice(0, SAMPLES), "val": slice(SAMPLES, None)}.items()
        }

    def network(self) -> nn.Module:
        norm = nn.BatchNorm1d(8) if self.normalised else nn.Identity()
        trunk = nn.Sequential(nn.Linear(5, 8, bias=not self.normalised), norm, nn.Tanh())
        return nn.ModuleDict({"trunk": trunk, "kind": nn.Linear(8, 3), "size": nn.Linear(8, 2)})

    def outputs(self, network: Any, batch: Any) -> Outputs:
        features = network["trunk"](batch["x"])
        mask = batch["known"] if self.missing else None
        of, anchor = self.branch(features)
        terms: dict[str, Any] = {
            "kind": Term(network["kind"](of["kind"]), batch["kind"], mask=mask),
            "size": Term(network["size"](of["size"]), batch["size"]),
        }
        # A smaller batch has one loss less.
        if not self.missing or len(batch["x"]) == BATCH:
            terms["code"] = Entry(0.1 * of["code"].square().mean(1) + 0.01)
        if self.aside:
            terms["code"] = Entry(network["size"].weight.square().mean())
        if self.parameters:
            anchor = list(network["trunk"].parameters())
        return Outputs(terms, anchor=anchor if self.anchored else None)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        kind, size = outputs.term("kind"), outputs.term("size")
        return {
            "error": (kind.prediction.argmax(1) != kind.target).float(),
            "size_mse": (size.prediction - size.target).square().mean(1),
        }


def member(
    problem: Problem,
    seed: int,
    weighting: Any = "equal",
    optimizer: Callable[[Any, int], Any] | None = None,
    losses: Mapping[str, Any] | None = None,
    scheduler: Callable[[Any], Any] | None = None,
    penalties: Mapping[str, Any] | None = None,
    primary: Sequence[str] = (),
    fork: str = "",
    **player: Any,
) -> Member:
    """A fresh member; the same seed gives the same. Its held-out data are the validation data."""
    torch.manual_seed(seed)
    network = problem.network()
    made = {name: build_loss((losses or {}).get(name, loss)) for name, loss in problem.terms.items() if loss}
    on = Penalties(penalties or {}, problem.terms).bind(network)
    parameters = [*network.parameters(), *(p for loss in made.values() for p in loss.parameters())]
    chosen = (optimizer or (lambda of, seed: torch.optim.Adam(of, lr=0.01 * (1 + seed))))(parameters, seed)
    return Member(
        problem,
        network,
        made,
        Player([*problem.terms, *on.names], build_weighting(weighting), **player),
        chosen,
        scheduler=None if scheduler is None else scheduler(chosen),
        penalties=on,
        held_out=HeldOut(problem.datasets(0)["val"], BATCH, seed),
        primary=primary,
        fork=fork,
    )


def steps_of(epochs: int, accumulate: int = 1) -> int:
    """The optimiser steps of a training."""
    return epochs * -(-len(range(0, SAMPLES, BATCH)) // accumulate)


def train_fleet(
    members: Sequence[Member], datasets: Sequence[Any], epochs: int = 4, accumulate: int = 1, clip: Clip | None = None
) -> tuple[Fleet, list[Tensor]]:
    """Train ``members`` as one; the fleet, and the weights [M, N] of each micro-batch."""
    fleet = Fleet(members, accumulate, clip)
    batches, step, found = StackedBatches(datasets, range(len(members)), BATCH), 0, []
    for epoch in range(epochs):
        waiting = 0
        for number, batch in enumerate(batches.epoch(epoch), 1):
            clock = Clock(step, epoch, step / steps_of(epochs, accumulate))
            found.append(fleet.micro_batch(batch, clock).weights.clone())
            waiting += 1
            if waiting == accumulate or number == len(batches):
                fleet.step()
                step, waiting = step + 1, 0
    fleet.settle()
    return fleet, found


def train_with_leavers(fleet: Fleet, batches: StackedBatches, gone: Sequence[int]) -> list[tuple[Member, list[Tensor]]]:
    """Train ``fleet`` for four epochs; the members ``gone`` leave after the second. They, and their parameters then."""
    step, left = 0, []
    kept = [m for m in range(len(fleet)) if m not in gone]
    for epoch in range(4):
        for batch in batches.epoch(epoch):
            fleet.micro_batch(batch, Clock(step, epoch, step / 12))
            fleet.step()
            step += 1
        if epoch == 1:
            left = [(one, [p.detach().clone() for p in one.network.parameters()]) for one in fleet.drop(gone)]
            batches.keep(kept)
    fleet.settle()
    return left


def train_alone(
    member: Member, dataset: Any, seed: int, epochs: int = 4, accumulate: int = 1, clip: Clip | None = None
) -> list[Tensor]:
    """Train one member as a loop of one's own does; the weights [N] of each micro-batch, NaN if it was left out."""
    order, step, found = EpochShuffle(len(dataset), seed), 0, []
    parts = nn.ModuleList([member.network, *member.losses.values()])
    ahead = LookAhead(member.player, parts, member.primary, micro_batches=accumulate)
    for epoch in range(epochs):
        order.set_epoch(epoch)
        rows = list(order)
        for start in range(0, len(rows), BATCH):
            last = (start // BATCH + 1) % accumulate == 0 or start + BATCH >= len(rows)
            clock = Clock(step, epoch, step / steps_of(epochs, accumulate))
            for loss in member.losses.values():
                loss.follow(clock.progress)
            batch = collated(dataset, rows[start : start + BATCH])
            if member.penalties is not None:
                member.penalties.follow(clock.progress)
            moment, losses = Moment.now(torch.device("cpu")), partial(_table, member, batch, clock)
            weighed = member.player.step(losses(), clock, accumulates=accumulate > 1)
            if needs := member.player.looks_ahead(step):
                ahead.note(moment, losses)
            aligns = last and Need.ALIGNMENT in needs
            with observe_step(member.optimizer) if aligns else nullcontext() as taken:
                if weighed is not None:
                    (weighed.total / accumulate).backward()
                if last:
                    _step(member, clip, learns=not needs)
            known = member.player.last if weighed is None else member.player.weighed.weights  # after the backward
            found.append(torch.full_like(known, torch.nan) if weighed is None else known.clone())
            if last:
                if needs:
                    ahead.look(
                        step, taken, lambda clock=clock: _table(member, member.held_out.batch(clock.step), clock)
                    )
                    member.player.commit()
                member.optimizer.zero_grad()
                if member.scheduler is not None:
                    member.scheduler.step()
                step += 1
    return found


def _table(member: Member, batch: Any, clock: Clock) -> LossTable:
    fork = partial(member.player.fork, parameters=member.fork == "parameters") if member.fork else None
    with member.problem.branching(fork):
        outputs = member.problem.outputs(member.network, batch)
    table = table_of(outputs, member.losses, member.player, clock)
    if member.penalties is None:
        return table
    return replace(table, entries={**table.entries, **member.penalties.entries(member.network)})


def _step(member: Member, clip: Clip | None, learns: bool) -> None:
    parameters = [p for group in member.optimizer.param_groups for p in group["params"]]
    if clip is not None and clip.norm:
        torch.nn.utils.clip_grad_norm_(parameters, clip.norm)
    if clip is not None and clip.value:
        torch.nn.utils.clip_grad_value_(parameters, clip.value)
    if learns:
        member.player.commit()
    member.optimizer.step()


def assert_same(fleet: Sequence[Member], alone: Sequence[Member], tolerance: float = 1e-9) -> None:
    """Parameters, buffers and the state of the weightings agree."""
    for one, other in zip(fleet, alone, strict=True):
        for of in ("network", "player"):
            ours, theirs = getattr(one, of).state_dict(), getattr(other, of).state_dict()
            assert ours.keys() == theirs.keys()
            for name, value in ours.items():
                # A weighting's state is float32: it may differ in its last bit.
                allowed = tolerance if value.dtype == torch.float64 else 1e-6
                torch.testing.assert_close(
                    value, theirs[name], rtol=allowed, atol=allowed, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
                )

"""Tries a fleet before it is trained: whether it can be, and what a step of a member costs, there and alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.datasets import collated
from autoloss.core.need import Need
from autoloss.core.table import LossTable
from autoloss.probe.lookahead import Moment
from autoloss.probe.optimizer_step import observe_step
from autoloss.training.fleet.batches import StackedBatches
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.party import TRIALS
from autoloss.training.fleet.plan import Plan
from autoloss.training.fleet.repeated import STEADY
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import Job
from autoloss.training.step.entries import table_of
from autoloss.training.step.lookahead import LookAhead

STEPS = 3  # steps that are measured; the least counts
LIGHTNING = 1e-3  # seconds that a step through Lightning costs besides: its loop, its callbacks, the loader


class SlowerError(UnlikeError):
    """A fleet costs more than its members one by one."""


def check_faster(jobs: Sequence[Job], plan: Plan) -> None:
    """Make some steps with copies of ``jobs``; raise :class:`SlowerError` if a member-step costs more than one alone.

    What a network cannot do under ``vmap`` is an error of torch here, before anything is trained.
    """
    copies = [_copy(job.member) for job in jobs]
    device = next(copies[0].network.parameters()).device
    kinds: dict[Need, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(job.member.player.weighting.needs, []).append(job)
    each = [min(_seconds(_alone(of[0], plan), STEPS + 1, device)[1:]) * len(of) for of in kinds.values()]
    alone = sum(each) / len(jobs) + LIGHTNING
    batches = StackedBatches([job.data["train"] for job in jobs], [job.seed for job in jobs], plan.batch_size)
    batch = next(batches.epoch(0))
    fleet = Fleet(copies, clip=plan.clip)

    def together(step: int) -> None:
        fleet.micro_batch(batch, Clock(step))
        fleet.step()

    price = min(_seconds(together, TRIALS + STEPS, device)[TRIALS:]) / len(jobs)
    if price > alone:
        # Not yet: the operations of the weightings are repeated later.
        price = min(_seconds(together, STEADY + STEPS, device, TRIALS + STEPS)) / len(jobs)
    if price > alone:
        raise SlowerError(
            "A fleet must cost less than its members one by one, but a step of a member costs "
            f"{price / alone:.2g} times as much. They are trained alone."
        )


def _alone(job: Job, plan: Plan) -> Callable[[int], None]:
    member, dataset = _copy(job.member), job.data["train"]
    batch = collated(dataset, range(min(plan.batch_size, len(dataset))))  # type: ignore[arg-type]
    player, optimizer = member.player, member.optimizer
    parts = nn.ModuleList([member.network, *member.losses.values()])
    look_ahead = LookAhead(player, parts, member.primary, objective=member.objective)

    fork = partial(player.fork, parameters=member.fork == "parameters") if member.fork else None

    def table(of: Any, step: int) -> LossTable:
        with member.problem.branching(fork):
            outputs = member.problem.outputs(member.network, of)
        found = table_of(outputs, member.losses, player, Clock(step))
        if member.penalties is None:
            return found
        return replace(found, entries={**found.entries, **member.penalties.entries(member.network)})

    def one(step: int) -> None:
        again, needs = partial(table, batch, step), player.looks_ahead(step)
        if needs:
            look_ahead.note(Moment.now(player.last.device), again)
        weighed = player.step(again(), Clock(step))
        with observe_step(optimizer) if Need.ALIGNMENT in needs else nullcontext() as taken:
            if weighed is not None:
                weighed.total.backward()
            optimizer.step()
        if needs:
            look_ahead.look(step, taken, lambda: table(_held_out(member, step), step))
        player.commit()
        optimizer.zero_grad()

    return one


def _held_out(member: Member, step: int) -> Any:
    assert member.held_out is not None
    return member.held_out.batch(step)


def _copy(member: Member) -> Member:
    parts = (member.network, dict(member.losses), member.player, member.optimizer, member.penalties)
    network, losses, player, optimizer, penalties = deepcopy(parts)
    return replace(
        member,
        network=network,
        losses=losses,
        player=player,
        optimizer=optimizer,
        penalties=penalties,
        scheduler=None,
    )


def _seconds(step: Callable[[int], None], number: int, device: torch.device, start: int = 0) -> list[float]:
    found = []
    for i in range(start, number):
        begun = _now(device)
        step(i)
        found.append(_now(device) - begun)
    return found


def _now(device: torch.device) -> float:
    """CPU time of this process; on an accelerator the time of day, after what it has to do."""
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()

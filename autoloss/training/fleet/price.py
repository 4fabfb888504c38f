"""Tries a fleet before it is trained: whether it can be, and what a step of a member costs, there and alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch

from autoloss.core.clock import Clock
from autoloss.core.datasets import collated
from autoloss.training.fleet.batches import StackedBatches
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import Job, Plan
from autoloss.training.fleet.weighing import TRIALS
from autoloss.training.step.entries import table_of

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
    alone = min(_seconds(_alone(jobs[0], plan), STEPS + 1, device)[1:]) + LIGHTNING
    batches = StackedBatches([job.data["train"] for job in jobs], [job.seed for job in jobs], plan.batch_size)
    batch = next(batches.epoch(0))
    fleet = Fleet(copies, clip=plan.clip)

    def together(step: int) -> None:
        fleet.micro_batch(batch, Clock(step))
        fleet.step()

    price = min(_seconds(together, TRIALS + STEPS, device)[TRIALS:]) / len(jobs)
    if price > alone:
        raise SlowerError(
            "A fleet must cost less than its members one by one, but a step of a member costs "
            f"{price / alone:.2g} times as much. They are trained alone."
        )


def _alone(job: Job, plan: Plan) -> Callable[[int], None]:
    member, dataset = _copy(job.member), job.data["train"]
    batch = collated(dataset, range(min(plan.batch_size, len(dataset))))  # type: ignore[arg-type]

    def one(step: int) -> None:
        table = table_of(member.problem.outputs(member.network, batch), member.losses, member.player, Clock(step))
        weighed = member.player.step(table, Clock(step))
        if weighed is not None:
            weighed.total.backward()
        member.player.commit()
        member.optimizer.step()
        member.optimizer.zero_grad()

    return one


def _copy(member: Member) -> Member:
    parts = (member.network, dict(member.losses), member.player, member.optimizer)
    network, losses, player, optimizer = deepcopy(parts)
    return Member(member.problem, network, losses, player, optimizer)


def _seconds(step: Callable[[int], None], number: int, device: torch.device) -> list[float]:
    found = []
    for i in range(number):
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

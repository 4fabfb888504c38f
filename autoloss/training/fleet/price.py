"""What a step of a member costs in a fleet, and alone."""

from __future__ import annotations

import time
from copy import deepcopy

import torch

from autoloss.core.clock import Clock
from autoloss.training.fleet.batches import collated
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import FleetTraining, Job, Plan
from autoloss.training.step.entries import table_of

STEPS = 3  # steps that are measured; the least counts


class SlowerError(UnlikeError):
    """A fleet costs more than its members one by one."""


def now(device: torch.device) -> float:
    """CPU time of this process; on an accelerator the time of day, after what it has to do."""
    if device.type == "cpu":
        return time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def price_alone(job: Job, plan: Plan) -> float:
    """The seconds of a step of ``job`` alone, on a copy."""
    member = job.member
    network, losses, player, optimizer = deepcopy(
        (member.network, dict(member.losses), member.player, member.optimizer)
    )
    device = next(network.parameters()).device
    dataset = job.data["train"]
    batch = collated(dataset, range(min(plan.batch_size, len(dataset))))  # type: ignore[arg-type]
    found = []
    for step in range(STEPS + 1):
        begun = now(device)
        table = table_of(member.problem.outputs(network, batch), losses, player, Clock(step, 0, 0.0))
        weighed = player.step(table, Clock(step, 0, 0.0))
        if weighed is None:
            break
        weighed.total.backward()
        player.commit()
        optimizer.step()
        optimizer.zero_grad()
        found.append(now(device) - begun)
    return min(found[1:], default=float("inf"))


def check_faster(training: FleetTraining, alone: float) -> None:
    """Raise :class:`SlowerError` in the first steps of ``training`` if a member-step costs more than ``alone``."""
    device, members, found = training.fleet.last.device, len(training.running), list[float]()
    before, last = training.between, [now(training.fleet.last.device)]

    def between() -> None:
        found.append((now(device) - last[0]) / members)
        if len(found) > 2 + STEPS:
            training.between = before
            price = min(found[2:])
            if price > alone:
                raise SlowerError(
                    "A fleet must cost less than its members one by one, but a step of a member costs "
                    f"{price / alone:.2g} times as much. They are trained alone."
                )
        before()
        last[0] = now(device)

    training.between = between

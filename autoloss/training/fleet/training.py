"""Trains a fleet from its first step to its last metrics, with a record for each member."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from autoloss.core.clock import Clock
from autoloss.core.datasets import size_of
from autoloss.training.fleet.batches import StackedBatches, in_order, stacked
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.forward import MemberModel
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.member_record import MemberRecord
from autoloss.training.fleet.plan import Plan, Reached
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.record.cadence import Cadence
from autoloss.training.record.hparams import TableRow
from autoloss.training.step.entries import table_of

TALLY = "sums of "
Report = Callable[[int, Mapping[str, float]], None]


@dataclass(slots=True)
class Job:
    """One member's training: where it is recorded, its data, and the order of its data.

    ``report`` is called with the epoch (from 1) and the metrics of each validation; what it raises ends the member.
    TensorBoard has the ``config`` as text and the ``row`` in its table. ``checkpoint`` writes a checkpoint, every so
    many epochs as the plan says.
    """

    member: Member
    directory: Path
    seed: int
    data: Mapping[str, Dataset[Any]]
    report: Report | None = None
    config: Mapping[str, Any] | None = None
    test: bool = False
    checkpoint: Callable[[Reached], None] | None = None
    row: TableRow | None = None


@dataclass(slots=True)
class MemberResult:
    """The result of a member: its metrics, and the error that ended it early, if there was one."""

    metrics: dict[str, float] = field(default_factory=dict)
    test_metrics: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    error: BaseException | None = None


class FleetTraining:
    """Trains ``jobs`` as one. ``between`` is called after each step; what it raises ends all.

    ``each_epoch`` is called after each epoch and its validation.
    """

    def __init__(self, jobs: Sequence[Job], plan: Plan, between: Callable[[], None] = lambda: None) -> None:
        self.plan, self.between = plan, between
        self.running, self.jobs = list(jobs), list(jobs)
        self.outcomes = {id(job): MemberResult() for job in jobs}
        probe = Cadence(plan.probe_every).due if plan.probe_every else None
        self.fleet = Fleet([job.member for job in jobs], plan.accumulate, plan.clip, probe)
        self.batches = StackedBatches([job.data["train"] for job in jobs], [job.seed for job in jobs], plan.batch_size)
        self.step, self.epoch = 0, 0
        every = plan.record_every
        records = [MemberRecord(job.member.player, job.directory, job.config, every, job.row) for job in jobs]
        self._records = dict(zip(map(id, jobs), records, strict=True))
        self._latest: dict[int, tuple[StackedWeighed, int]] = {}  # of each job, and its place there
        self.each_epoch: Callable[[], None] = lambda: None

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.plan.steps(self.batches.size)

    @property
    def clock(self) -> Clock:
        """Where training stands."""
        return Clock(self.step, self.epoch, min(1.0, self.step / self.steps))

    def train(self) -> list[MemberResult]:
        """Train all; the outcomes in the order of the jobs."""
        # What was made before stays: to look through it again and again for what is unused takes a twentieth of a step.
        gc.freeze()
        try:
            for epoch in range(self.plan.begun(self.batches.size)):
                self.epoch = epoch
                whole = self._epoch()
                if self.running and whole and (self.epoch + 1) % self.plan.validate_every == 0:
                    self._validate()
                if not self.running:
                    break
                if self.plan.checkpoint_every and (self.epoch + 1) % self.plan.checkpoint_every == 0:
                    self._checkpoint()
                self.each_epoch()
            self._end()
        finally:
            for record in self._records.values():
                record.close()
            gc.unfreeze()
        return [self.outcomes[id(job)] for job in self.jobs]

    def _epoch(self) -> bool:
        """Train an epoch; ``False`` if it ended before its last batch."""
        waiting, batches = 0, self.plan.batches(self.batches.size)
        for number, batch in enumerate(islice(self.batches.epoch(self.epoch), batches), 1):
            weighed = self.fleet.micro_batch(batch, self.clock)
            self._record(weighed)
            waiting += 1
            if waiting == self.plan.accumulate or number == batches:
                self.fleet.step()
                self.step, waiting = self.step + 1, 0
            if self.fleet.failed and not waiting:
                self._drop(dict(self.fleet.failed))
                if not self.running:
                    return False
            self.between()
            if not waiting and self.step == self.steps and number < batches:
                return False
        return True

    def _record(self, weighed: StackedWeighed) -> None:
        for m, job in enumerate(self.running):
            latest, record = self._latest.get(id(job)), self._records[id(job)]
            # Of several micro-batches in a step the first is recorded.
            if m in weighed.left_out or (latest is not None and latest[0].layout.clock.step == self.step):
                continue
            self._latest[id(job)] = weighed, m
            if record.due(self.step) or (weighed.probes and not weighed.needs[m]):
                record.recorder.record(weighed.of(m))

    def _validate(self) -> None:
        ended: dict[int, BaseException] = {}
        for m, (job, found) in enumerate(zip(self.running, self._measured("val"), strict=True)):
            metrics = self.outcomes[id(job)].metrics = _metrics_of("val", found)
            self._records[id(job)].validated(self.clock, found)
            try:
                if job.report is not None:
                    job.report(self.epoch + 1, metrics)
            except Exception as error:
                ended[m] = error
        if ended:
            self._drop(ended)

    def _checkpoint(self) -> None:
        self.fleet.settle()
        reached = Reached(self.epoch + 1, self.step, self.plan.batches(self.batches.size))
        for m, job in enumerate(self.running):
            if job.checkpoint is not None:
                with self.fleet.optimizer_state(m):
                    job.checkpoint(reached)

    def _drop(self, errors: Mapping[int, BaseException]) -> None:
        for m, error in errors.items():
            job = self.running[m]
            outcome = self.outcomes[id(job)]
            outcome.error, outcome.steps = error, self.step
            self._close(m)
        self.fleet.drop(sorted(errors))
        kept = [m for m in range(len(self.running)) if m not in errors]
        self.batches.keep(kept)
        self.running = [self.running[m] for m in kept]

    def _close(self, m: int) -> None:
        """Record the last step of member ``m``, and end its record."""
        job = self.running[m]
        record, latest = self._records[id(job)], self._latest.get(id(job))
        if latest is not None:
            record.recorder.record(latest[0].of(latest[1]))
        record.close()

    def _end(self) -> None:
        self.fleet.settle()
        tested = [job.test for job in self.running]
        found = self._measured("test") if any(tested) else [{} for _ in self.running]
        for m, job in enumerate(self.running):
            outcome = self.outcomes[id(job)]
            outcome.steps = self.step
            if job.test:
                outcome.test_metrics = _metrics_of("test", found[m])
            self._records[id(job)].end(outcome.metrics)
            self._close(m)
        if self.running and not any(self.outcomes[id(job)].metrics for job in self.running):
            # Training ended before the first validation: as alone, what is measured now is no row of the record.
            for job, of in zip(self.running, self._measured("val"), strict=True):
                self.outcomes[id(job)].metrics = _metrics_of("val", of)

    def _measured(self, split: str) -> list[dict[str, float]]:
        """The means of the metrics of ``split``, and of the losses on validation data, for each running member."""
        sums: dict[str, tuple[Tensor, Tensor]] = {}
        with self._evaluating(), torch.no_grad():
            for batch, own in self._split(split):
                for name, (total, number) in self._measure(split, batch, own).items():
                    before, count = sums.get(name, (0.0, 0))
                    sums[name] = (before + total, count + number)
        each: dict[str, list[float]] = {
            name: (total / number.clamp(min=1)).where(number > 0, 0.0).tolist()
            for name, (total, number) in sums.items()
            if not name.startswith(TALLY)
        }
        tallies = {name.removeprefix(TALLY): total for name, (total, _) in sums.items() if name.startswith(TALLY)}
        return [
            {**{name: of[m] for name, of in each.items()}, **self._concluded(split, tallies, m)}
            for m in range(len(self.running))
        ]

    def _concluded(self, split: str, tallies: Mapping[str, Tensor], member: int) -> dict[str, float]:
        """The metrics that the problem concludes from the sums of ``member`` over ``split``."""
        if not tallies:
            return {}
        found = self.running[member].member.problem.conclude({name: total[member] for name, total in tallies.items()})
        return {f"{split}/{name}": value for name, value in found.items()}

    def _split(self, split: str) -> Iterator[tuple[Any, bool]]:
        """The batches of ``split``; ``True`` if each member has its own, stacked."""
        datasets = [job.data[split] for job in self.running]
        number = self.plan.batches(size_of(datasets[0], "A fleet", "Write __len__."), split)
        if all(dataset is datasets[0] for dataset in datasets):
            for batch in islice(in_order(datasets[0], self.plan.batch_size), number):
                yield batch, False
            return
        each = zip(*(in_order(dataset, self.plan.batch_size) for dataset in datasets), strict=True)
        for batches in islice(each, number):
            yield stacked(batches), True

    def _measure(self, split: str, batch: Any, own: bool) -> dict[str, tuple[Tensor, Tensor]]:
        numbers: dict[str, int] = {}
        problem, player, clock = self.running[0].member.problem, self.running[0].member.player, self.clock

        def one(model: MemberModel, batch: Any) -> dict[str, Tensor]:
            outputs = problem.outputs(model.network, batch)
            found = {f"{split}/{name}": values for name, values in problem.measure(outputs).items()}
            sums = {name: values.float().sum() for name, values in found.items()}
            sums |= {f"{TALLY}{name}": total for name, total in problem.tally(outputs).items()}
            numbers.update({name: values.numel() for name, values in found.items()})
            if split == "val" and outputs.terms:
                table = table_of(outputs, model.by_term(), player, clock)
                for name in table.entries:
                    if (entry := table.entry(name)) is not None:
                        total, number = entry.local()
                        sums[f"val_loss/{name}"] = total
                        sums[f"count of val_loss/{name}"] = torch.as_tensor(number, dtype=torch.float32)
            return sums

        stacked_batch, shared = ((batch,), ()) if own else ((), (batch,))
        found: dict[str, Tensor] = self.fleet.stacked.call(one, *stacked_batch, shared=shared)
        result = {}
        for name, total in found.items():
            if not name.startswith("count of "):
                # Each member may have its own data, with masks of their own.
                number = found.get(f"count of {name}", torch.tensor(numbers.get(name, 0)))
                result[name] = (total.detach(), number.long())
        return result

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        for model in self.fleet.models:
            model.eval()
        try:
            yield
        finally:
            for model in self.fleet.models:
                model.train()


def _metrics_of(split: str, found: Mapping[str, float]) -> dict[str, float]:
    start = f"{split}/"
    return {name.removeprefix(start): x for name, x in found.items() if name.startswith(start)}

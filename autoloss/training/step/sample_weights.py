"""Weighs the samples of a batch, term by term, before their losses are averaged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError, check_known, require
from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.table import Entry, LossTable
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.core.tensors.state import StateModule, commit
from autoloss.training.step.clock_check import check_clock

CORRUPTED = "corrupted"  # the key of the data that marks wrong labels


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a sample weighting saw of one term, and the weights [B] that it gave; 1 where a sample is masked."""

    samples: Samples
    weights: Tensor

    def numbers(self) -> dict[str, Tensor]:
        """What is recorded of the present samples: the share with a weight above 0 and the mean weight.

        Also the mean weight of clean and of corrupted samples if the data have the key; NaN if there are none.
        """
        here, weights = self.samples.present, self.weights
        used = {"sample_used": (weights > 0).float(), "sample_weight_mean": weights}
        found = {kind: self.samples.mean(values) for kind, values in used.items()}
        wrong = self.samples.keys.get(CORRUPTED)
        if wrong is not None:
            for kind, rows in (("clean", here & ~wrong), ("corrupted", here & wrong)):
                found[f"sample_weight_{kind}"] = weights.where(rows, 0.0).sum() / rows.sum()
        return found


class SampleWeights(StateModule):
    """Applies a copy of one sample weighting to each term; ``size`` is the number of training samples, if known.

    The rule's ``terms`` are weighed; if it names none, all losses that have a value for each sample.
    """

    def __init__(self, names: Sequence[str], weighting: SampleWeighting, size: int | None = None) -> None:
        super().__init__()
        check_known("loss", weighting.terms, names)
        self.named = bool(weighting.terms)
        self.names = tuple(weighting.terms or names)
        self.title, self.needs, self.size = weighting.title(), weighting.needs, size
        # A list, because a loss may have any name, also one that a ModuleDict refuses.
        self.rules = nn.ModuleList(deepcopy(weighting).bind(size) for _ in self.names)
        self._leaves: dict[str, Tensor] = {}
        self._seen: set[str] = set()
        self._empty: dict[str, Tensor] = {}
        self._alignments: dict[str, Tensor] = {}

    def foresee(self, alignments: Mapping[str, Tensor]) -> None:
        """Take the alignment [B] of each term's samples of the batch that :meth:`weigh` is called with next."""
        self._alignments = dict(alignments)

    def weigh(self, table: LossTable, clock: Clock) -> tuple[LossTable, tuple[Sampled, ...]]:
        """``table`` with its losses times their samples' weights, and these weights."""
        sampled = []
        for name, rule in self._pairs():
            check_clock(rule, clock)
            samples = self._samples(name, table, clock)
            if samples is None:
                continue
            weights = weights_of(rule, samples)
            self.note_empty(samples, weights)
            sampled.append(Sampled(samples, weights))
        return applied(table, sampled), tuple(sampled)

    def temper(self, name: str, prediction: Tensor, table: LossTable, clock: Clock) -> Tensor:
        """``prediction`` [B, ...] divided by its samples' temperatures, if the rule has temperatures.

        ``table`` gives the samples' index, and its entry ``name`` their labels.
        """
        if SampleNeed.SLOPES not in self.needs or name not in self.names:
            return prediction
        entry = table.entry(name)
        zeros = torch.zeros(len(prediction), dtype=torch.float32, device=prediction.device)
        samples = self._known(name, zeros, torch.ones_like(zeros).bool(), entry, table, clock)
        with torch.no_grad(), exact(zeros.device.type):
            leaf = dict(self._pairs())[name].temperature(samples).detach()
        if torch.is_grad_enabled():
            self._leaves[name] = leaf.requires_grad_()
        return prediction / leaf.view(-1, *[1] * (prediction.dim() - 1))

    def commit(self, batches: Sequence[tuple[Sampled, ...]], finite: Tensor) -> None:
        """Let the rules learn from an optimiser step's micro-batches, if everything was ``finite``."""
        for name, rule in self._pairs():
            if next(rule.buffers(), None) is None:
                continue
            learn(rule, [s.samples for batch in batches for s in batch if s.samples.term == name], finite)

    def check(self) -> None:
        """Warn of a term whose samples' weights were all 0 in a batch; waits for the device."""
        for name, empty in list(self._empty.items()):
            if bool(empty):
                del self._empty[name]
                self._seen.add(f"empty {name}")
                warnings.warn(
                    f"A batch should have samples with a weight above 0, but sample weighting {self.title!r} left none "
                    f"for loss {name!r}: that loss was 0.",
                    stacklevel=2,
                )

    def _pairs(self) -> list[tuple[str, SampleWeighting]]:
        return list(zip(self.names, cast(Sequence[SampleWeighting], self.rules), strict=True))

    def _samples(self, name: str, table: LossTable, clock: Clock) -> Samples | None:
        entry = table.entry(name)
        if entry is None:
            return None
        if not self.takes(name, entry):
            return None
        samples = self._known(name, *entry.samples(), entry, table, clock)
        if SampleNeed.ALIGNMENT in self.needs:
            samples = replace(samples, measured_alignment=self._alignment(name, len(samples.losses)))
        if SampleNeed.SLOPES in self.needs:
            samples = replace(samples, measured_slopes=self._slopes(name, entry))
        return samples

    def takes(self, name: str, entry: Entry) -> bool:
        """Whether the samples of the loss ``name`` are weighed; a scalar has none, an error where the rule names it."""
        if entry.values.dim() == 0 and self.named and name in self.names:
            raise ConfigError(
                f"A loss whose samples are weighed must have a value for each of them, but {name!r} is a scalar. "
                "Leave it out of sample_weighting.terms."
            )
        return entry.values.dim() > 0 and name in self.names

    def _alignment(self, name: str, batch: int) -> Tensor:
        found = self._alignments.pop(name, None)
        if found is None or len(found) != batch:
            raise SignalError(
                f"Sample weighting {self.title!r} needs the effect of each sample on held-out data, but for loss "
                f"{name!r} it was not measured. Write `with balancer.lookahead(network, train=losses_of, "
                "held_out=losses_of_held_out):` around each step."
            )
        return found

    def _slopes(self, name: str, entry: Entry) -> Tensor | None:
        leaf = self._leaves.pop(name, None)
        if not torch.is_grad_enabled():
            return None
        if leaf is None:
            raise SignalError(
                f"Sample weighting {self.title!r} divides predictions before the loss, but those of {name!r} were not "
                f"divided. Write logits = balancer.temper({name!r}, logits, index=index, labels=labels)."
            )
        values = entry.values if entry.mask is None else entry.values.where(entry.mask, 0.0)
        # A backward under autocast would cast what the forward did not.
        with torch.autocast(values.device.type, enabled=False):
            (slopes,) = torch.autograd.grad(values.sum(), leaf, retain_graph=True)
        return slopes

    def _known(
        self, name: str, losses: Tensor, present: Tensor, entry: Entry | None, table: LossTable, clock: Clock
    ) -> Samples:
        labels = None if entry is None else entry.labels
        if name not in self._seen or losses.device.type == "cpu":
            self._seen.add(name)
            self.check_known(name, len(losses), table.index, labels)
        return Samples(
            name, losses, present, clock.step, clock.epoch, clock.progress, table.index, labels, None, table.keys
        )

    def check_known(self, name: str, batch: int, index: Tensor | None, labels: Tensor | None) -> None:
        """Raise unless what the rule needs is given and in range; on an accelerator only once for each term."""
        if SampleNeed.INDEX in self.needs:
            if index is None:
                raise SignalError(
                    f"Sample weighting {self.title!r} needs to know which samples a batch holds, but their index is "
                    "not given. Return Outputs(..., index=batch['index']), or call balancer(..., index=index)."
                )
            require(
                index.shape == (batch,), f"An index must be [{batch}], as the batch is", f"it is {list(index.shape)}"
            )
            low, high = (int(index.min()), int(index.max())) if batch else (0, 0)
            require(
                low >= 0 and high < (self.size or 0),
                f"An index must lie between 0 and {(self.size or 0) - 1}, the last sample's",
                f"a batch has {low if low < 0 else high}",
            )
        if SampleNeed.LABELS in self.needs:
            if labels is None:
                raise SignalError(
                    f"Sample weighting {self.title!r} needs the samples' classes, but loss {name!r} has no target of "
                    "whole numbers [B]. Return Entry(..., labels=labels), or name others in sample_weighting.terms."
                )
            require(
                labels.shape == (batch,), f"Labels must be [{batch}], as the batch is", f"they are {list(labels.shape)}"
            )
            require(not batch or int(labels.min()) >= 0, "Labels must be at least 0", f"a batch of {name!r} has less")

    def note_empty(self, samples: Samples, weights: Tensor) -> None:
        """Keep whether a batch has samples, but none with a weight, for :meth:`check`; on a CPU it warns at once."""
        name = samples.term
        if f"empty {name}" in self._seen:
            return
        empty = left_out(samples, weights)
        before = self._empty.get(name)
        self._empty[name] = empty if before is None else before | empty
        if empty.device.type == "cpu":
            self.check()


def weights_of(rule: SampleWeighting, samples: Samples) -> Tensor:
    """The weights [B] of ``samples`` by ``rule``: 1 where a sample is masked."""
    with torch.no_grad():
        weights = rule(samples).detach().float()
        if weights.shape != samples.losses.shape:
            raise ConfigError(
                f"A sample weighting must give one weight for each sample, {list(samples.losses.shape)}, but "
                f"{rule.title()!r} gave {list(weights.shape)}."
            )
        return weights.where(samples.present, 1.0)


def left_out(samples: Samples, weights: Tensor) -> Tensor:
    """Whether there are samples, but none with a weight above 0; a bool tensor without the last axis."""
    return samples.present.any(-1) & ~((weights > 0) & samples.present).any(-1)


def learn(rule: SampleWeighting, seen: Sequence[Samples], finite: Tensor) -> None:
    """Let ``rule`` learn from the micro-batches that it has ``seen`` in a step, if everything was ``finite``."""
    union = union_of(seen) if seen else None
    here = finite if union is None else finite & union.finite()
    if world_size() > 1:
        write = partial(_learn_together, rule, union, here)
        commit(rule, write, finite, finite)
    elif union is not None and here.device.type != "cpu":
        commit(rule, partial(rule.update, union), here, here)
    elif union is not None and bool(here):
        # On a CPU there is nothing to wait for, and this copies no state that has a number for each sample.
        with torch.no_grad(), exact():
            rule.update(union)


def applied(table: LossTable, sampled: Sequence[Sampled]) -> LossTable:
    """``table`` with its losses times the weights of their samples."""
    return times(table, {one.samples.term: one.weights for one in sampled})


def times(table: LossTable, weights: Mapping[str, Tensor]) -> LossTable:
    """``table`` with its losses times ``weights`` [B] by term."""
    entries: dict[str, Entry | Tensor | None] = dict(table.entries)
    for term, of in weights.items():
        entry = table.entry(term)
        if entry is not None:
            entries[term] = replace(entry, values=entry.values * of.view(-1, *[1] * (entry.values.dim() - 1)))
    return replace(table, entries=entries) if weights else table


def _learn_together(rule: SampleWeighting, union: Samples | None, here: Tensor) -> None:
    """Learn from this rank's samples, if they are finite; then keep the mean over the ranks that changed the state."""
    before = {name: buffer.clone() for name, buffer in rule.named_buffers()}
    if union is not None:
        commit(rule, partial(rule.update, union), here, here)
    for name, buffer in rule.named_buffers():
        moved = ~((buffer == before[name]) | (buffer.isnan() & before[name].isnan()))
        total, number = sum_over_ranks(torch.stack([buffer.double().where(moved, 0.0), moved.double()]))
        buffer.copy_(torch.where(number > 0, (total / number.clamp(min=1)).to(buffer.dtype), before[name]))


def union_of(seen: Sequence[Samples]) -> Samples:
    """The samples of several micro-batches as one batch."""
    if len(seen) == 1:
        return seen[0]

    def cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
        known = [one for one in tensors if one is not None]
        return torch.cat(known) if len(known) == len(tensors) else None

    keys: Mapping[str, Tensor] = {key: torch.cat([s.keys[key] for s in seen]) for key in seen[0].keys}
    return replace(
        seen[-1],
        losses=torch.cat([s.losses for s in seen]),
        present=torch.cat([s.present for s in seen]),
        known_index=cat([s.known_index for s in seen]),
        known_labels=cat([s.known_labels for s in seen]),
        measured_slopes=cat([s.measured_slopes for s in seen]),
        measured_alignment=cat([s.measured_alignment for s in seen]),
        keys=keys,
    )

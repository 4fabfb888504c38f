"""The weights of the samples of M members, which their own rules give within the one forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from autoloss.core.clock import Clock
from autoloss.core.need import SampleNeed
from autoloss.core.samples import Samples
from autoloss.core.table import LossTable
from autoloss.core.tensors.state import changes
from autoloss.training.fleet.party import Party
from autoloss.training.fleet.repeated import as_before
from autoloss.training.fleet.stacked import structure
from autoloss.training.fleet.weighing import Numbers
from autoloss.training.step.player import Player
from autoloss.training.step.sample_weights import (
    Sampled,
    SampleWeights,
    applied,
    learn,
    left_out,
    union_of,
    weights_of,
)

NOT_FOLLOWED = SampleNeed.SLOPES | SampleNeed.ALIGNMENT  # what a fleet does not measure of the samples


@dataclass(frozen=True, slots=True)
class Seen:
    """What is the same for all members of what their rules see in a micro-batch: the weighed terms, and the time."""

    terms: tuple[str, ...]
    clock: Clock

    @property
    def alike(self) -> tuple[Any, ...]:
        """What is equal in calls that are alike: all but the time."""
        return self.terms, self.clock.unknown

    def samples(self, term: str, numbers: Numbers) -> Samples:
        """The samples of ``term``: ``numbers`` hold those of one member [B], or of all [M, B]."""
        of, clock = numbers["terms"][term], self.clock
        keys, known = numbers.get("keys", {}), (numbers.get("index"), of.get("labels"))
        return Samples(term, of["losses"], of["present"], clock.step, clock.epoch, clock.progress, *known, None, keys)


@dataclass(frozen=True, slots=True)
class StackedSampled:
    """The samples of M members, and the weights [M, B] of each term that was weighed."""

    seen: Seen
    numbers: Numbers
    weights: tuple[Tensor, ...]
    rules: tuple[SampleWeights | None, ...]

    def of(self, m: int) -> tuple[Sampled, ...]:
        """What the rules of member ``m`` saw and gave."""
        rules = self.rules[m]
        own: Numbers = pytree.tree_map(lambda tensor: tensor[m], self.numbers)
        return tuple(
            Sampled(self.seen.samples(term, own), weights[m])
            for term, weights in zip(self.seen.terms, self.weights, strict=True)
            if rules is not None and term in rules.names
        )


class SampleParty(Party):
    """Members whose rules for samples are of one structure: ``names`` are the terms that they weigh."""

    def __init__(self, rules: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__(rules)
        self.names = tuple(names)

    def ask_one(self, weighting: Any, numbers: Numbers, layout: Seen) -> tuple[Tensor, ...]:
        found = {}
        with as_before(weighting):
            for term, rule in self._pairs(weighting, layout):
                found[term] = weights_of(rule, layout.samples(term, numbers))
        return tuple(
            found[term] if term in found else torch.ones_like(numbers["terms"][term]["losses"], dtype=torch.float32)
            for term in layout.terms
        )

    def learn_one(self, weighting: Any, window: Sequence[Numbers], layouts: Sequence[Seen]) -> None:
        for _, rule, seen in self._seen(weighting, window, layouts):
            learn(rule, seen, torch.ones((), dtype=torch.bool, device=seen[0].losses.device))

    def learned(self, weighting: Any, window: Sequence[Numbers], layouts: Sequence[Seen]) -> dict[str, Tensor]:
        found = {}
        with as_before(weighting):
            for place, rule, seen in self._seen(weighting, window, layouts):
                union = union_of(seen)
                for name, keep, now, before in changes(rule, partial(rule.update, union), union.finite(), None):
                    found[f"{place}.{name}"] = torch.where(keep, now, before)
        return found

    def _pairs(self, weighting: Any, layout: Seen) -> list[tuple[str, Any]]:
        return [(term, rule) for term, rule in zip(self.names, weighting, strict=True) if term in layout.terms]

    def _seen(
        self, weighting: Any, window: Sequence[Numbers], layouts: Sequence[Seen]
    ) -> Iterator[tuple[int, Any, list[Samples]]]:
        """The place of each rule that has state, the rule, and its micro-batches of the window."""
        for place, (term, rule) in enumerate(zip(self.names, weighting, strict=True)):
            pairs = zip(window, layouts, strict=True)
            seen = [layout.samples(term, numbers) for numbers, layout in pairs if term in layout.terms]
            if seen and next(rule.buffers(), None) is not None:
                yield place, rule, seen


class FleetSamples:
    """Weighs the samples of the members that have a rule for them; those of the others have the weight 1.

    :meth:`weigh` is called within the mapped forward of a micro-batch, and :meth:`learn` once for each optimiser step.
    ``last`` is what was seen last.
    """

    def __init__(self, players: Sequence[Player]) -> None:
        self.rules = [player.samples for player in players]
        self.last: StackedSampled | None = None
        self._window: list[tuple[Numbers, Seen]] = []
        alike: dict[tuple[Any, ...], list[int]] = {}
        for m, own in enumerate(self.rules):
            if own is not None:
                alike.setdefault((own.names, own.named, structure(own.rules)), []).append(m)
        self.parties = [(of, _party([self.rules[m] for m in of])) for of in alike.values()]
        for of, party in self.parties:
            party.place(of, len(self.rules))

    def __bool__(self) -> bool:
        return bool(self.parties)

    def weigh(self, table: LossTable, clock: Clock) -> LossTable:
        """``table`` of one member with its losses times their samples' weights, in a mapped forward."""
        known: dict[str, dict[str, Tensor]] = {}
        for name in table.entries:
            entry = table.entry(name)
            # Each is asked: a rule that names a scalar is an error.
            weighed = [own.takes(name, entry) for own in self.rules if own is not None and entry is not None]
            if entry is not None and any(weighed):
                losses, present = entry.samples()
                known[name] = {"losses": losses, "present": present}
                known[name] |= {} if entry.labels is None else {"labels": entry.labels}
        if not known:
            self.last = None
            return table
        numbers: Numbers = {"terms": known, "keys": dict(table.keys)}
        numbers |= {} if table.index is None else {"index": table.index}
        leaves, layout = pytree.tree_flatten(numbers)
        seen = Seen(tuple(known), clock)
        weights = _Outside.apply(self, seen, layout, *leaves)
        return applied(
            table,
            [Sampled(seen.samples(term, numbers), of) for term, of in zip(seen.terms, weights, strict=True)],
        )

    def weights(self, numbers: Numbers, seen: Seen) -> tuple[Tensor, ...]:
        """The weights [M, B] of each term; ``numbers`` are those of all members."""
        samples = {term: seen.samples(term, numbers) for term in seen.terms}
        found = {term: torch.ones_like(of.losses, dtype=torch.float32) for term, of in samples.items()}
        for members, party in self.parties:
            self._check(members[0], samples)
            with torch.no_grad():
                for term, weights in zip(seen.terms, party.ask(numbers, seen), strict=True):
                    found[term][members] = weights
        for term, of in samples.items():
            empty = left_out(of, found[term])
            for m in empty.nonzero().flatten().tolist() if bool(empty.any()) else ():
                own_rules = self.rules[m]
                if own_rules is not None:
                    own_numbers = pytree.tree_map(lambda tensor, m=m: tensor[m], numbers)
                    own_rules.note_empty(seen.samples(term, own_numbers), found[term][m])
        self.last = StackedSampled(seen, numbers, tuple(found.values()), tuple(self.rules))
        self._window.append((numbers, seen))
        return self.last.weights

    def learn(self) -> None:
        """Let the rules learn from the micro-batches since the last call."""
        window, self._window = self._window, []
        for _, party in self.parties if window else ():
            party.learn([numbers for numbers, _ in window], [seen for _, seen in window])

    def keep(self, members: Sequence[int]) -> None:
        """Drop all but ``members``."""
        place, parties = {old: new for new, old in enumerate(members)}, []
        self.rules = [self.rules[m] for m in members]
        for of, party in self.parties:
            if left := [j for j, m in enumerate(of) if m in place]:
                party.keep(left)
                parties.append(([place[of[j]] for j in left], party))
                party.place(parties[-1][0], len(members))
        self.parties, self.last = parties, None

    def _check(self, member: int, samples: Mapping[str, Samples]) -> None:
        """Raise unless what the rules of ``member`` need is given and in range, for all members at once."""
        own = self.rules[member]
        assert own is not None
        for term, of in samples.items():
            if term in own.names:
                known = (of.known_index, of.known_labels)
                own.check_known(term, of.losses.numel(), *(None if one is None else one.flatten() for one in known))


def _party(members: Sequence[SampleWeights | None]) -> SampleParty:
    here = [own for own in members if own is not None]
    return SampleParty([own.rules for own in here], here[0].names)


class _Outside(torch.autograd.Function):
    """Gives the weights of all members from outside of the mapping, where rules may be called one by one."""

    generate_vmap_rule = False

    @staticmethod
    def forward(samples: FleetSamples, seen: Seen, layout: Any, *leaves: Tensor) -> tuple[Tensor, ...]:
        """Called where nothing is mapped: for one member."""
        whole = [leaf[None] for leaf in leaves]
        return tuple(of[0] for of in samples.weights(pytree.tree_unflatten(whole, layout), seen))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Weights are constants: nothing is kept for a backward."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], samples: FleetSamples, seen: Seen, layout: Any, *leaves: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """The weights of all members."""
        whole = [
            leaf.expand(info.batch_size, *leaf.shape) if at is None else leaf.movedim(at, 0)
            for leaf, at in zip(leaves, in_dims[3:], strict=True)
        ]
        found = samples.weights(pytree.tree_unflatten(whole, layout), seen)
        return found, tuple(0 for _ in found)

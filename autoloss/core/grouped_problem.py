"""A problem whose samples fall into groups: metrics of each group, and terms that are split into a loss for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoloss.core.errors import ConfigError, require, unknown
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.metrics.groups import WORST, concluded, tallied
from autoloss.core.problem import Outputs, Pictures, Problem, Term
from autoloss.core.table import Entry

_NAME = re.compile(r"[\w-]+")
LOOKED_AT = 100_000  # samples of a dataset without columns in which groups are looked for


class GroupedProblem(Problem):
    """The problem ``inner`` with metrics of the groups of ``key``, and its terms ``split`` into a loss for each group.

    ``groups`` are the names of the key's values 0, 1, ... A term ``task`` becomes the losses ``task_a`` and
    ``task_b``, each the mean over its group's samples; a batch without one of a group lacks that loss. Each metric gets
    a ``NAME_worst``, that of the worst group, which counts in scores as the metric itself does.
    """

    def __init__(self, inner: Problem, key: str, groups: Sequence[str], split: Sequence[str] = ()) -> None:
        super().__init__()
        if isinstance(inner, GanProblem):
            raise ConfigError(f"Groups need a problem with one network, but {inner.title()!r} has two. Leave them out.")
        for term in split:
            if term not in inner.terms:
                raise unknown("loss", term, inner.terms)
        require(len(groups) > 1, f"There must be at least two groups of {key!r}", f"they are {list(groups)}")
        good = len(set(groups)) == len(groups) and all(isinstance(one, str) and one for one in groups)
        require(good, f"The groups of {key!r} must have distinct names", f"they are {list(groups)}")
        require(WORST not in groups, f"The name of a group must not be {WORST!r}", "one is", "Give it another name.")
        strange = next((one for one in groups if not _NAME.fullmatch(one)), "")
        rule = "The name of a group must be made of letters, digits, - and _, as it becomes a part of keys"
        require(not strange, rule, f"one is {strange!r}", "Give the groups other names with `groups`.")
        self.inner, self.key, self.split, self.names = inner, key, tuple(split), tuple(groups)
        self.module = inner.module  # type: ignore[misc]  # of this one
        self.reads_files, self.predicts = inner.reads_files, inner.predicts
        self.renewed, self.keyed = inner.renewed, inner.keyed
        if len(inner.groups.get(key, ())) == len(groups):
            inner.groups = {**inner.groups, key: tuple(groups)}  # for metrics of its own
        self.metrics = {**inner.metrics, **{f"{name}_{WORST}": goal for name, goal in inner.metrics.items()}}
        self.metrics = {name: goal for name, goal in self.metrics.items() if not name.endswith(f"_{WORST}_{WORST}")}
        self.terms = {name: loss for term, loss in inner.terms.items() for name in self.losses_of(term)}
        self.judges = self.nodes(inner.judges)
        twice = len(self.terms) < sum(len(self.losses_of(term)) for term in inner.terms)
        require(not twice, "The losses of groups must have names of their own", f"they are {list(self.terms)}")

    def title(self) -> str:  # type: ignore[override]  # of the one inside
        return self.inner.title()

    def losses_of(self, term: str) -> list[str]:
        """The losses of a ``term``: itself, or one for each group."""
        return [f"{term}_{group}" for group in self.names] if term in self.split else [term]

    def nodes(self, losses: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of ``losses`` by term, as that of the losses of groups."""
        return {name: node for term, node in losses.items() for name in self.losses_of(term)}

    def datasets(self, seed: int) -> Mapping[str, Dataset[Any]]:
        found = self.inner.datasets(seed)
        self._check(found["train"])
        return found

    def folds(self, count: int, seed: int) -> Sequence[Mapping[str, Dataset[Any]]]:
        found = self.inner.folds(count, seed)
        for fold in found:
            self._check(fold["train"])
        return found

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        whole = self.inner.outputs(network, batch)
        missing = [term for term in self.split if term not in whole.terms]
        if missing and len(whole.terms) == len(missing):
            return whole
        terms: dict[str, Any] = {}
        for term, given in whole.terms.items():
            names = self.losses_of(term)
            terms |= {names[0]: given} if term not in self.split else self._parts(names, given, self._group(whole))
        return replace(whole, terms=terms, whole=whole)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return self.inner.measure(outputs.whole or outputs)

    def rows(self, outputs: Outputs) -> Mapping[str, Tensor | None]:
        return self.inner.rows(outputs.whole or outputs)

    def tally(self, outputs: Outputs) -> Mapping[str, Tensor]:
        whole = outputs.whole or outputs
        groups = tallied(self.inner.measure(whole), self._group(whole), len(self.names), self.inner.rows(whole))
        return {**groups, **self.inner.tally(whole)}

    def conclude(self, sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        return {**concluded(sums, self.inner.metrics, self.names), **self.inner.conclude(sums)}

    @contextmanager
    def branching(self, fork: Callable[[Tensor], Mapping[str, Tensor]] | None) -> Iterator[None]:
        if fork is not None and self.split:
            raise ConfigError(
                f"The gradients of {self.split[0]!r} cannot meet in a fork, because its groups have one prediction. "
                "Set anchor=features, or choose a weighting that needs no fork."
            )
        with self.inner.branching(fork):
            yield

    def network(self) -> nn.Module:
        return self.inner.network()

    def hold_out(self, train: Dataset[Any], share: float, seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
        return self.inner.hold_out(train, share, seed)

    def saved_state(self) -> Mapping[str, Any]:
        return self.inner.saved_state()

    def predict(self, network: nn.Module, samples: Any) -> Any:
        return self.inner.predict(network, samples)

    def data_card(self) -> str:
        return self.inner.data_card()

    def constant_metrics(self) -> Mapping[str, float]:
        return self.inner.constant_metrics()

    def pictures(self, network: nn.Module, batch: Any) -> Pictures | None:
        return self.inner.pictures(network, batch)

    def _group(self, outputs: Outputs) -> Tensor:
        if self.key not in outputs.keys:
            raise unknown("key of the data", self.key, outputs.keys)
        return outputs.keys[self.key]

    def _parts(self, names: Sequence[str], given: Any, group: Tensor) -> dict[str, Term | Entry]:
        found: dict[str, Term | Entry] = {}
        for place, name in enumerate(names):
            here = group == place
            if isinstance(given, Term):
                found[name] = replace(given, mask=here if given.mask is None else given.mask & here)
                continue
            entry = given if isinstance(given, Entry) else Entry(given) if isinstance(given, Tensor) else None
            if entry is None or not entry.values.dim():
                raise ConfigError(
                    f"A term that is split needs a value for each sample, but {self._term(name)!r} has none. "
                    f"Leave losses.{self._term(name)}.by out."
                )
            wide = here.reshape(-1, *[1] * (entry.values.dim() - 1)).expand(entry.values.shape)
            found[name] = replace(entry, mask=wide if entry.mask is None else entry.mask & wide)
        return found

    def _term(self, name: str) -> str:
        return next(term for term in self.split if name in self.losses_of(term))

    def _check(self, train: Dataset[Any]) -> None:
        """Raise if a group has no training samples, or a sample is of none; nothing where the data cannot be read."""
        found = _values(train, self.key)
        if found is None:
            return
        counts = {float(value): number for value, number in zip(*_counted(found), strict=True)}
        strange = [value for value in counts if value not in range(len(self.names))]
        require(
            not strange,
            f"The groups of {self.key!r} must be numbered from 0 to {len(self.names) - 1} ({', '.join(self.names)})",
            f"a sample has {strange[0] if strange else 0:g}",
        )
        empty = [name for place, name in enumerate(self.names) if place not in counts]
        require(
            not empty,
            f"Each group of {self.key!r} must have training samples",
            f"{', '.join(empty)} has none",
            "Leave it out of the groups, or add samples.",
        )


def _counted(values: Tensor) -> tuple[list[float], list[int]]:
    found, numbers = values.unique(return_counts=True)
    return found.tolist(), numbers.tolist()


def _values(data: Any, key: str) -> Tensor | None:
    """The ``key`` of each sample of a dataset [N]; ``None`` if it cannot be read without loading very many."""
    columns = getattr(data, "columns", None)
    if isinstance(columns, Mapping):
        return columns.get(key)
    if not hasattr(data, "__len__") or len(data) > LOOKED_AT:
        return None
    first = data[0] if len(data) else None
    if not isinstance(first, Mapping) or key not in first:
        return None
    return torch.as_tensor([float(data[i][key]) for i in range(len(data))])

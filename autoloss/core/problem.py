"""A problem: data, a network, and what its outputs are compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from autoloss.core.component import Component
from autoloss.core.errors import ConfigError
from autoloss.core.table import Anchor, Entry

Branch = Callable[[Tensor], tuple[Mapping[str, Tensor], Anchor]]


@dataclass(frozen=True, slots=True)
class Term:
    """What one loss compares: ``prediction`` and ``target``, [B, ...] each.

    ``mask`` [B] (bool) says which samples have a target. A term that is not ``balanced`` keeps
    its base weight.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor | None = None
    balanced: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """A discriminator's logits of real and of generated samples, [B, ...] each: what an adversarial loss compares.

    ``real`` may be a function that gives them: it is called only by losses that look at them.
    """

    real: Tensor | Callable[[], Tensor]
    fake: Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a penalty on the discriminator's slope looks at: ``judge`` gives the logits [B, ...] of samples [B, ...]."""

    judge: Callable[[Tensor], Tensor]
    real: Tensor
    fake: Tensor


@dataclass(frozen=True, slots=True)
class Layers:
    """The activations of several layers, [B, ...] each, for generated samples and for those that they should match."""

    prediction: Sequence[Tensor]
    target: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network gives for one batch: a :class:`Term` for each loss, and the anchor.

    A loss that has no prediction and target (a KL term, a penalty) is given ready, as a tensor or
    an :class:`Entry`. ``extra`` is for the problem's own metrics. ``index`` [B] says which samples of the
    training data these are (0 to their number - 1), and ``keys`` holds what the data say of each, [B] by
    name, for sample weightings; ``corrupted`` (bool) among them is recorded.
    """

    terms: Mapping[str, Term | Entry | Tensor | Verdict | Inputs | Layers]
    anchor: Anchor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    index: Tensor | None = None
    keys: Mapping[str, Tensor] = field(default_factory=dict)

    def term(self, name: str) -> Term:
        """The term ``name``, which must be a prediction and a target."""
        term = self.terms[name]
        if not isinstance(term, Term):
            raise ConfigError(f"Term {name!r} must have a prediction and a target, but it is {type(term).__name__}.")
        return term


class _Part(Subset[Any]):
    """Some of a dataset's samples, and its way of making batches."""

    def __init__(self, dataset: Dataset[Any], indices: Sequence[int]) -> None:
        super().__init__(dataset, indices)
        self.collate = getattr(dataset, "collate", None)


class Problem(Component, ABC):
    """Data, a network, and several losses.

    ``terms`` maps each loss to the registered loss that it takes by default (``None`` where
    :meth:`outputs` gives it ready), ``metrics`` maps each metric to ``"min"`` or ``"max"``, and
    ``recipe`` holds configuration that suits it (``{"optimizer": {"lr": 0.01}}``). ``terms`` and
    ``metrics`` that depend on the data are left empty in the class and set in the constructor.
    ``module`` names what trains it unless ``module=`` says otherwise.
    """

    terms: Mapping[str, str | None] = {}
    metrics: Mapping[str, str] = {}
    recipe: ClassVar[Mapping[str, Any]] = {}
    module: ClassVar[str] = "multitask"
    _fork: Callable[[Tensor], Mapping[str, Tensor]] | None = None

    def branch(self, features: Tensor) -> tuple[Mapping[str, Tensor], Anchor]:
        """What to compute each term from, by name, and the anchor: for :meth:`outputs`.

        Usually ``features`` for every term, and as the anchor. Where gradients are to meet in a fork,
        each term has a copy of its own, and a loss may depend on the features through it only.
        """
        if self._fork is None:
            return dict.fromkeys(self.terms, features), features
        fork = self._fork(features)
        return fork, fork

    @contextmanager
    def branching(self, fork: Callable[[Tensor], Mapping[str, Tensor]] | None) -> Iterator[None]:
        """Within it :meth:`branch` splits features with ``fork``; ``None`` for not at all."""
        before, self._fork = self._fork, fork
        try:
            yield
        finally:
            self._fork = before

    def folds(self, count: int, seed: int) -> Sequence[Mapping[str, Dataset[Any]]]:
        """The training and validation data as ``count`` folds, each with ``train`` and ``val`` (and the one ``test``).

        Optional: without it a problem cannot be searched or compared with folds.
        """
        raise ConfigError(f"Cross-validation needs a problem with folds(), but {self.title()} has none.")

    def hold_out(self, train: Dataset[Any], share: float, seed: int) -> tuple[Dataset[Any], Dataset[Any]]:
        """The training data without a ``share`` of it, and that share: what weights are learned on.

        Samples at random; a problem whose samples have sources in common keeps each on one side.
        """
        size = len(train)  # type: ignore[arg-type]
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
        kept = max(1, round(share * size))
        return _Part(train, order[kept:]), _Part(train, order[:kept])

    @abstractmethod
    def datasets(self, seed: int) -> Mapping[str, Dataset[Any]]:
        """The datasets ``train``, ``val`` and (optionally) ``test``; ``seed`` is for drawing data, if any is drawn.

        A dataset may have a ``collate`` function for its batches.
        """

    @abstractmethod
    def network(self) -> nn.Module:
        """A new network with fresh parameters."""

    @abstractmethod
    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        """Call ``network`` on ``batch``. Pure: no logging, no state."""

    @abstractmethod
    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """The metrics of one batch: one value for each sample that has one, [at most B].

        A metric is the mean over all of a split's values.
        """

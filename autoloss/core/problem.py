"""A problem: data, a network, and the terms that its losses compare."""

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
from autoloss.core.datasets import size_of
from autoloss.core.errors import ConfigError
from autoloss.core.table import Anchor, Entry

Branch = Callable[[Tensor], tuple[Mapping[str, Tensor], Anchor]]


@dataclass(frozen=True, slots=True)
class Term:
    """What one loss compares: ``prediction`` and ``target``, [B, ...] each.

    ``mask`` [B] (bool) says which samples have a target. With ``nan_is_absent`` a target that is NaN is none, too. A
    term that is not ``balanced`` keeps its base weight.
    """

    prediction: Tensor
    target: Tensor
    mask: Tensor | None = None
    balanced: bool = True
    nan_is_absent: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The term of an adversarial loss: a discriminator's logits of real and of generated samples, [B, ...] each.

    ``real`` may be a function that returns the logits; it is called only for losses that use them.
    """

    real: Tensor | Callable[[], Tensor]
    fake: Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """The term of a penalty on the input gradient: ``judge`` gives the discriminator's logits [B, ...] of samples."""

    judge: Callable[[Tensor], Tensor]
    real: Tensor
    fake: Tensor


@dataclass(frozen=True, slots=True)
class Layers:
    """The activations of several layers, [B, ...] each, of generated samples and of samples that they should match."""

    prediction: Sequence[Tensor]
    target: Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network gives for one batch: a :class:`Term` for each loss, and the anchor.

    A loss without a prediction and a target (a KL term, a penalty) is given as its values: a tensor or an
    :class:`Entry`. ``extra`` is for the problem's own metrics. ``index`` [B] holds each sample's place in the training
    data (from 0). ``keys`` holds further data of the samples by name, [B] each, for sample weightings and groups; a key
    ``corrupted`` (bool) is recorded, and ``TERM.NAME`` is the key ``NAME`` of that term's samples alone. ``whole`` are
    the outputs before terms were split by a key, if they were.
    """

    terms: Mapping[str, Term | Entry | Tensor | Verdict | Inputs | Layers]
    anchor: Anchor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    index: Tensor | None = None
    keys: Mapping[str, Tensor] = field(default_factory=dict)
    whole: Outputs | None = None

    def term(self, name: str) -> Term:
        """The term ``name``, which must be a prediction and a target."""
        term = self.terms[name]
        if not isinstance(term, Term):
            raise ConfigError(f"Term {name!r} must have a prediction and a target, but it is {type(term).__name__}.")
        return term


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a network makes of some samples, to look at.

    ``images`` are [rows, columns, 3, H, W] or [rows, columns, H, W], in [0, 1]. ``titles`` (optional) are those of the
    columns.
    """

    images: Tensor
    titles: Sequence[str] = ()


class _Part(Subset[Any]):
    """Some of a dataset's samples, with the dataset's ``collate``."""

    def __init__(self, dataset: Dataset[Any], indices: Sequence[int]) -> None:
        super().__init__(dataset, indices)
        self.collate = getattr(dataset, "collate", None)


class Problem(Component, ABC):
    """Data, a network, and several losses.

    ``terms`` maps the name of each loss to the registered loss that it is by default: its name, or (in a constructor)
    ``{"name": "dice", "smooth": 0.1}``; ``None`` if :meth:`outputs` gives its values. ``metrics`` maps each metric to
    ``"min"`` or ``"max"``. ``recipe`` holds configuration that suits the problem (``{"optimizer": {"lr": 0.01}}``).
    ``terms`` and ``metrics`` that depend on the data are left empty in the class and set in the constructor. ``judges``
    maps names to the losses that held-out data is judged by where numbers of a term's loss are learned, if not by that
    of ``terms``: losses that do not follow wrong labels, say. ``module`` names the module that trains it by default.
    ``predicts`` says what the network of a diffusion model predicts, ``"epsilon"``, ``"x0"`` or ``"v"``, to rules for
    noise levels. ``renewed`` is what to write for samples that stay, where each batch has new ones: rules that keep a
    number for each sample ask for it. ``reads_files`` says that :meth:`predict` takes the path of a file. ``groups``
    maps keys of the samples (:class:`Outputs`) that are whole numbers from 0 to the names of their values; ``keyed`` is
    what to write for a key that is not among them, if a person can make it one.
    """

    terms: Mapping[str, str | Mapping[str, Any] | None] = {}
    metrics: Mapping[str, str] = {}
    judges: Mapping[str, str | Mapping[str, Any]] = {}
    recipe: ClassVar[Mapping[str, Any]] = {}
    module: ClassVar[str] = "multitask"
    predicts: str | None = None
    renewed: str = ""
    reads_files: bool = False
    groups: Mapping[str, Sequence[str]] = {}
    keyed: str = ""
    _fork: Callable[[Tensor], Mapping[str, Tensor]] | None = None

    def branch(self, features: Tensor) -> tuple[Mapping[str, Tensor], Anchor]:
        """For :meth:`outputs`: the features to compute each term from, by name, and the anchor.

        Usually these are ``features`` for every term, and ``features`` as the anchor. With a fork each term has its
        own copy, and its loss may depend on the features through that copy only.
        """
        if self._fork is None:
            return dict.fromkeys(self.terms, features), features
        fork = self._fork(features)
        return fork, fork

    @contextmanager
    def branching(self, fork: Callable[[Tensor], Mapping[str, Tensor]] | None) -> Iterator[None]:
        """Inside the block :meth:`branch` splits features with ``fork``; ``None`` for no split."""
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
        """The training data in two parts: the part to train on, and a ``share`` of it as held-out data.

        The samples are chosen at random. A problem with several samples from one source keeps them in one part.
        """
        size = size_of(train, "hold_out()", "Write hold_out() of the problem, or choose what needs no held-out data.")
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist()
        kept = max(1, round(share * size))
        return _Part(train, order[kept:]), _Part(train, order[:kept])

    def saved_state(self) -> Mapping[str, Any]:
        """What :meth:`predict` needs besides the network's parameters: tensors and plain values, for a file.

        Means and deviations that inputs are standardised by, names of classes. Empty by default; then a saved model is
        loaded with a problem that is built anew from its parameters.
        """
        return {}

    @classmethod
    def restored(cls, state: Mapping[str, Any], parameters: Mapping[str, Any]) -> Problem:
        """The problem of a saved model, from what :meth:`saved_state` gave and the problem's ``parameters``.

        It must have ``terms``, ``metrics``, a :meth:`network` of the same shape and :meth:`predict`, without data.
        """
        raise ConfigError(f"A problem with saved_state() must have restored(), but {cls.__name__} has none.")

    def predict(self, network: nn.Module, samples: Any) -> Any:
        """What ``network`` predicts for new ``samples``, in the problem's own units; the network is in eval mode.

        Optional: without it a saved model predicts only through :meth:`outputs`.
        """
        raise ConfigError(
            f"Predictions need a problem with predict(), but {self.title()} has none. Call the network itself, or "
            "write predict(network, samples)."
        )

    def data_card(self) -> str:
        """What the user should know of the data before training: a few lines, which are printed and kept.

        Optional: nothing is printed without it.
        """
        return ""

    def constant_metrics(self) -> Mapping[str, float]:
        """The metrics on validation data of the best answer that is the same for every sample, where they are known.

        Optional: a training that never gets better than these is told.
        """
        return {}

    @abstractmethod
    def datasets(self, seed: int) -> Mapping[str, Dataset[Any]]:
        """The datasets ``train``, ``val`` and (optionally) ``test``; ``seed`` is for data that are drawn at random.

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

        A metric of a split is the mean of all its values.
        """

    def rows(self, outputs: Outputs) -> Mapping[str, Tensor | None]:
        """Which samples of a batch :meth:`measure` has values of, [B] (bool) by metric; all where nothing is said.

        It is asked for metrics of groups, of a problem whose targets may be missing.
        """
        return {}

    def tally(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """Sums over the samples of one batch, for metrics that are no means over samples; none by default.

        They are added over the batches and ranks of a split: a confusion matrix, a histogram, an error and its count.
        """
        return {}

    def conclude(self, sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The metrics of a split that follow from the sums of :meth:`tally` over it; none by default."""
        return {}

    def pictures(self, network: nn.Module, batch: Any) -> Pictures | None:
        """What ``network`` makes of a batch of validation data, to look at; none by default.

        It is called after about ten validations of a training, without gradients.
        """
        return None

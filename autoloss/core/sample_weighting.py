"""A sample weighting is a function from the losses of a batch's samples to as many weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from autoloss.core.component import Component
from autoloss.core.errors import ConfigError, require
from autoloss.core.need import SampleNeed
from autoloss.core.problem import Problem
from autoloss.core.samples import Samples
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.state import StateModule, on_host

T = TypeVar("T")


class SampleWeighting(Component, StateModule, ABC):
    """Turns the losses [B] of one term's samples into weights [B].

    The term's loss becomes ``sum_i w_i l_i / n`` over its n present samples. The weights are not normalised: a
    rule that averages over the k samples that it chooses gives n/k, and if all weights are 0, the loss is 0. The
    gradient treats the weights as constants. Each term has its own copy of the rule, since losses of different
    terms have different scales.

    Subclasses declare ``needs``, allocate their state in :meth:`allocate`, read it in :meth:`forward` and
    write it in :meth:`update`. ``claims`` names the properties (keys of :data:`CLAIMS`) that the conformance
    suite then asserts. ``follows`` names what it is a function of, "progress" or "epoch": what the training must say.
    """

    needs: ClassVar[SampleNeed] = SampleNeed.LOSSES
    claims: ClassVar[frozenset[str]] = frozenset()
    follows: frozenset[str] = frozenset()
    terms: tuple[str, ...] = ()
    size: int | None = None
    _kept: tuple[Samples, Any] | None = None

    def suit(self, problem: Problem) -> None:
        """Take from ``problem`` what the rule must know of it, and raise :class:`ConfigError` where they do not agree.

        Called before a training of a problem, at least once, and never in a person's own loop. By default, it refuses a
        problem whose samples are new in each batch, if the rule keeps a number for each sample.
        """
        require(
            SampleNeed.INDEX not in self.needs or not problem.renewed,
            f"Sample weighting {self.title()!r} keeps a number for each sample, so the samples must be kept",
            f"those of {problem.title()!r} are new in each batch",
            f"Write {problem.renewed}, or choose a rule that needs no index.",
        )

    def bind(self, size: int | None = None) -> SampleWeighting:
        """Set the number of samples in the training data, if it is known, and allocate the state."""
        if SampleNeed.INDEX in self.needs and size is None:
            raise ConfigError(
                f"Sample weighting {self.title()!r} keeps a number for each sample, but the number of samples is not "
                "known. Give it: Balancer(..., samples=60000)."
            )
        require(size is None or size > 0, "There must be at least one sample", f"there are {size}")
        self.size = size
        with on_host(), exact():
            self.allocate(size or 0)
        return self

    def __call__(self, samples: Samples) -> Tensor:
        """The weights [B] by :meth:`forward`, in float32 whatever autocast and torch's default dtype are."""
        with exact(samples.losses.device.type):
            weights: Tensor = super().__call__(samples)
        return weights

    def allocate(self, size: int) -> None:
        """Register the state with :meth:`add_state`; stateless by default. ``size`` is 0 where it is not known."""

    @abstractmethod
    def forward(self, samples: Samples) -> Tensor:
        """The weights [B], at least 0. Reads state and never writes it; the weights of absent samples are ignored."""

    def update(self, samples: Samples) -> None:
        """Learn from ``samples``: called once for each optimiser step, with all its micro-batches as one batch.

        Each rank learns from its own samples; then all ranks keep the average of what the ranks wrote.
        """

    def remember(self, samples: Samples, compute: Callable[[Samples], T]) -> T:
        """``compute(samples)``, which :meth:`forward` keeps for the :meth:`update` that follows it."""
        found = compute(samples)
        self._kept = samples, found
        return found

    def recall(self, samples: Samples, compute: Callable[[Samples], T]) -> T:
        """What was kept, if it was of these very ``samples``, else ``compute(samples)``; nothing is kept any more."""
        kept, self._kept = self._kept, None
        return kept[1] if kept is not None and kept[0] is samples else compute(samples)

    def temperature(self, samples: Samples) -> Tensor:
        """What each prediction is divided by before the loss, [B]; called for rules that need ``SLOPES``.

        The losses are not known yet: ``samples.losses`` is 0.
        """
        return torch.ones_like(samples.losses)


CLAIMS = {
    "non_increasing": "a larger loss never gets a larger weight than a smaller one of its batch",
    "non_decreasing": "a larger loss never gets a smaller weight than a smaller one of its batch",
    "at_most_one": "no weight exceeds 1",
    "mean_one": "the mean of the weights over the present samples is 1",
    "scale_invariant": "all losses multiplied by one c > 0 get the same weights",
}

"""Gives the Gram matrix of the present losses to TorchJD and its weights back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from autoloss import ConfigError, Need, PluginError, Signals, Weighting, shared_generator

T = TypeVar("T")
Preference = Sequence[float] | Mapping[str, float] | None


class Gramian(Weighting):
    """A weighting of TorchJD: subclasses write :meth:`solve`.

    The rows and columns of absent losses are dropped. K numbers are found on the host, with one
    wait for the device, in ``precision``; TorchJD's own loops would wait at every iteration. A
    Gram matrix that is not finite gives equal weights: the training step says which loss it was.

    TorchJD takes gradients of a squared norm below 1e-4 for none, which the gradients of a mean
    at a layer's features easily are; where it does not change the answer otherwise (``rescaled``),
    the Gram matrix is divided by the mean of its diagonal first.
    """

    needs = Need.VALUES | Need.GRAM
    # float32 where TorchJD compares eigenvalues with the precision of the dtype: the measurement has no more.
    precision: ClassVar[torch.dtype] = torch.float64
    rescaled: ClassVar[bool] = True

    @classmethod
    def title(cls) -> str:
        return f"torchjd_{cls.__module__.rpartition('.')[2]}"

    @abstractmethod
    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        """The weights [k] of the losses ``here`` (indices [k]) with inner products ``gram`` [k, k], on the host."""

    def forward(self, signals: Signals) -> Tensor:
        weights = signals.gram.new_ones(len(signals.names))
        gram, here = self.present(signals)
        if not len(here) or not gram.isfinite().all():
            return weights
        # Mixed precision would multiply the host's float32 matrices in bfloat16.
        with torch.autocast("cpu", enabled=False):
            found = self.solve(gram, here, signals.step)
        if found.isfinite().all():
            weights[here.to(weights.device)] = found.to(weights)
        return weights

    def present(self, signals: Signals) -> tuple[Tensor, Tensor]:
        """The Gram matrix [k, k] of the present losses and their indices [k], on the host."""
        here = signals.present.cpu().nonzero().flatten()
        gram = signals.gram.to("cpu", self.precision)[here][:, here]
        size = gram.diagonal().mean()
        return (gram / size if self.rescaled and size > 0 else gram), here

    def preference(self, given: Preference) -> Tensor:
        """``given`` for each loss, [K]; 1 for each if it is ``None``, so that the plain sum is the neutral answer."""
        if given is None or isinstance(given, Mapping):
            return self.per_loss(given or {}).to(self.precision)
        if len(given) != len(self.names):
            raise ConfigError(
                f"`pref_vector` must have a number for each loss, but it has {len(given)}. "
                f"The losses are: {', '.join(self.names)}."
            )
        return torch.tensor([float(number) for number in given], dtype=self.precision)

    @classmethod
    def made(cls, build: Callable[[], T]) -> T:
        """What ``build`` makes; what TorchJD says about missing packages and wrong values, as errors of autoloss."""
        try:
            return build()
        except ImportError as error:
            raise PluginError(f"Weighting {cls.title()!r} must have its solver, but {error}") from error
        except ValueError as error:
            raise ConfigError(
                f"Weighting {cls.title()!r} must have parameters that TorchJD takes, but {error}"
            ) from error


@contextmanager
def seeded(seed: int, step: int) -> Iterator[None]:
    """The host's global generator as a function of ``seed`` and ``step``, and afterwards as it was.

    TorchJD draws from the global generator: ranks would draw different orders, and dropout other masks.
    """
    before = torch.get_rng_state()
    # Not torch.manual_seed: that one seeds the devices too.
    torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=shared_generator(seed, step))))
    try:
        yield
    finally:
        torch.set_rng_state(before)

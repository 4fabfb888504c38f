"""Numbers of losses that are learned from held-out data: their state, and their values in the losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, check_known
from autoloss.core.loss import Loss
from autoloss.core.schedules.learned_numbers import Learned, LearnedNumber, numbers_of, values_of
from autoloss.core.schedules.progressive import Progressive
from autoloss.core.table import LossTable
from autoloss.core.tensors.adam import AdamState
from autoloss.core.tensors.constants import constant
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.core.tensors.state import StateModule, commit

SELDOM = 4  # steps between two that learn numbers, if weights are learned at each: both need a pass of their own
KIND = "loss_number"  # of the columns in the record
ROUNDINGS = 50  # eps of a slope that is 0: up to 21 were seen, and 1000 and more where a number turns the step
FAR = 16.0  # in logits and logarithms: where a sigmoid has no slope left


@dataclass(frozen=True, slots=True)
class _Place:
    """A parameter ``key`` of a loss ``part``, of the term ``term``."""

    term: str
    part: Progressive
    key: str
    learned: Learned


class LossNumbers(StateModule):
    """The learned numbers of the ``losses`` by term, ``names``, and what is known of them.

    A number between two bounds moves in its logit, one with a single bound in the logarithm of its distance from it.
    An Adam of rate 1 moves ``moved`` [n], 0 at the start, and each number multiplies that by its rate. The losses'
    attributes are the state's values at any time: tensors of one number, in float64, so that a step is computed with
    the numbers that its derivatives are computed at.
    """

    moved: Tensor

    def __init__(self, losses: Mapping[str, Loss]) -> None:
        super().__init__()
        self._places = [
            _Place(term, part, key, learned)
            for term, loss in losses.items()
            for part in loss.modules()
            if isinstance(part, Progressive)
            for key, learned in part.learned.items()
        ]
        paths = {part: path for loss in losses.values() for path, part in loss.named_modules()}
        self.names: list[str] = []
        self.terms: list[str] = []
        self.numbers: list[LearnedNumber] = []
        for place in self._places:
            path = paths[place.part].replace("parts.", "")
            for key, number in numbers_of(place.key, place.learned).items():
                self.names.append(".".join(filter(None, (place.term, path, key))))
                self.terms.append(place.term)
                self.numbers.append(number)
        self.gradient: Tensor | None = None
        self.columns: dict[str, Tensor | float] = {}  # of the record
        # The steps of a held-out objective contain the learning rate: they may be far below Adam's usual eps.
        self.adam = AdamState(1.0, eps=1e-15)
        self.add_state("moved", torch.zeros(len(self.names)))
        self.adam.allocate(len(self.names), axes=0)
        self.register_load_state_dict_post_hook(lambda module, _: module.write())
        self.write()

    def __len__(self) -> int:
        return len(self.names)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        found = super()._apply(fn, recurse)
        self.write()
        return found

    @property
    def values(self) -> Tensor:
        """The numbers [n]."""
        return self._values(self._at())

    def shown(self) -> dict[str, float]:
        """The numbers by name; reading them waits for the device."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    def write(self, values: Sequence[Tensor] | None = None) -> None:
        """Set the losses' attributes to the numbers, or to ``values``."""
        if values is None:
            values = self.values.unbind()
            self.columns = {f"{KIND}/{name}": value for name, value in zip(self.names, values, strict=True)}
        left: Iterator[Any] = iter(values)
        for place in self._places:
            setattr(place.part, place.key, values_of(place.learned, lambda _: next(left)))

    @contextmanager
    def leaves(self) -> Iterator[list[Tensor]]:
        """Within it the losses have the same numbers as leaves of a graph."""
        found = [value.clone().requires_grad_() for value in self.values.unbind()]
        self.write(found)
        try:
            yield found
        finally:
            self.write()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Within it the losses have the numbers that they began with: as part of an objective they must not move."""
        self.write([torch.full_like(value, n.first) for value, n in zip(self.values, self.numbers, strict=True)])
        try:
            yield
        finally:
            self.write()

    def check(self, table: Callable[[], LossTable]) -> None:
        """Raise :class:`ConfigError` for a number that its loss in ``table()`` has no derivative with respect to."""
        with torch.enable_grad(), self.leaves() as leaves:
            try:
                made = table()
            except (TypeError, RuntimeError) as error:  # an operation of torch that takes a number and no tensor
                if isinstance(error, RuntimeError) and "not differentiable" not in str(error):
                    raise
                raise without_derivative(" or ".join(self.names), str(error).splitlines()[0]) from error
            found = {term: entry.local()[0] for term in self.terms if (entry := made.entry(term)) is not None}
            for name, term, leaf in zip(self.names, self.terms, leaves, strict=True):
                value = found.get(term)
                if value is not None and (not value.requires_grad or _unused(value, leaf)):
                    raise without_derivative(name)

    def turn(self, step: int, weights: bool) -> bool:
        """Whether the numbers learn from this step; ``weights`` says that weights learn from the look-ahead too."""
        return not weights or step % SELDOM == 0

    def see(self, pulls: Sequence[Tensor], leaves: Sequence[Tensor], floor: Tensor | None = None) -> None:
        """Learn of a step; the objective falls by the sum of the ``pulls``, a function of the ``leaves``.

        Adam would make whole steps of what rounding leaves of a slope that is 0. So a slope counts as 0 where it would
        change the pulls, over the whole range of the number, by less than some times the rounding ``floor``.
        """
        total = torch.stack(list(pulls)).sum()
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if total.requires_grad:
            found = torch.autograd.grad(total, leaves, allow_unused=True)
        gradient = torch.stack([torch.zeros_like(v) if g is None else g for v, g in zip(leaves, found, strict=True)])
        gradient = -sum_over_ranks(gradient) / world_size()
        if floor is not None:
            gradient = torch.where(gradient.abs() * self._width() > ROUNDINGS * floor.to(gradient), gradient, 0.0)
        self.gradient = gradient

    def forget(self) -> None:
        """Forget what was learned of a step that is given up."""
        self.gradient = None

    def learn(self, stepped: Tensor | None) -> None:
        """Take one step down what was seen, where that is finite and the optimiser ``stepped``."""
        gradient, self.gradient = self.gradient, None
        if gradient is None:
            return
        finite = gradient.isfinite().all()
        commit(self, lambda: self._descend(gradient), finite if stepped is None else finite & stepped, None)
        self.write()

    def _descend(self, gradient: Tensor) -> None:
        low, high, _, rate = self._constants()
        at = self._at()
        values = self._values(at)
        both, above = low.isfinite() & high.isfinite(), low.isfinite()
        slope = torch.where(above, values - low, torch.where(high.isfinite(), values - high, 1.0))
        slope = torch.where(both, (values - low) * ((high - values) / (high - low)), slope)
        self.adam.step(self.moved, (gradient * slope * rate).float())

    def _width(self) -> Tensor:
        """By how much the numbers [n] may change: their ranges, or their distances from a single bound, or sizes."""
        low, high, _, _ = self._constants()
        values = self.values
        one = torch.where(
            low.isfinite(), values - low, torch.where(high.isfinite(), high - values, values.abs().clamp(min=1))
        )
        return torch.where(low.isfinite() & high.isfinite(), high - low, one)

    def _at(self) -> Tensor:
        """The coordinates in which the numbers move, [n]."""
        low, high, origin, rate = self._constants()
        at = origin + rate * self.moved.to(rate.dtype)
        return torch.where(low.isfinite() | high.isfinite(), at.clamp(-FAR, FAR), at)

    def _values(self, at: Tensor) -> Tensor:
        low, high, _, _ = self._constants()
        from_low, from_high = low.isfinite(), high.isfinite()
        one = torch.where(from_low, low + at.exp(), torch.where(from_high, high - at.exp(), at))
        return torch.where(from_low & from_high, low + (high - low) * at.sigmoid(), one)

    def _constants(self) -> tuple[Tensor, ...]:
        rows = tuple((n.low, n.high, _origin(n), n.rate) for n in self.numbers)
        device = self.moved.device
        kind = torch.float32 if device.type == "mps" else torch.float64  # which has no float64
        return tuple(constant(row, device, kind) for row in zip(*rows, strict=True))


def _unused(value: Tensor, leaf: Tensor) -> bool:
    return torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)[0] is None


def learned_numbers(losses: Mapping[str, Loss]) -> list[str]:
    """The names of the numbers of ``losses`` that are learned."""
    parts = ((term, part) for term, loss in losses.items() for part in loss.modules())
    learning = ((term, part.learned) for term, part in parts if isinstance(part, Progressive))
    return [f"{term}.{name}" for term, each in learning for key, one in each.items() for name in numbers_of(key, one)]


def numbers_in(losses: Mapping[str, Loss], terms: Sequence[str]) -> LossNumbers | None:
    """The learned numbers of the ``losses`` of some ``terms``; ``None`` if there are none."""
    check_known("loss", losses, terms)
    return LossNumbers(losses) if learned_numbers(losses) else None


def without_derivative(name: str, why: str = "") -> ConfigError:
    """The error for a learned number ``name`` that its loss has no derivative with respect to."""
    return ConfigError(
        f"A loss must be differentiable with respect to a number to learn it, but it is not with respect to {name}"
        + f" ({why})" * bool(why)
        + f". Set losses.{name} to a number."
    )


def _origin(number: LearnedNumber) -> float:
    value, low, high = number.first, number.low, number.high
    if math.isfinite(low) and math.isfinite(high):
        return math.log((value - low) / (high - value))
    return math.log(value - low) if math.isfinite(low) else math.log(high - value) if math.isfinite(high) else value

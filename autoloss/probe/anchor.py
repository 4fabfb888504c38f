"""The tensors at which the losses' gradients are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from autoloss.core.errors import SignalError, require
from autoloss.core.table import Anchor
from autoloss.core.tensors.pairs import size_of


@dataclass(frozen=True, slots=True)
class AnchorPoint:
    """An anchor's tensors, which of them each loss is compared at, and whether they are parameters.

    Parameters are the same on every rank, so gradients there are averaged before they are
    compared; features belong to the samples of one rank, so inner products there are summed.
    """

    tensors: tuple[Tensor, ...]
    of_loss: tuple[tuple[int, ...], ...]
    parameters: bool

    @property
    def sizes(self) -> list[int]:
        """The number of coordinates of each tensor."""
        return [size_of(tensor) for tensor in self.tensors]

    @property
    def size(self) -> int:
        """The number of coordinates of all tensors together."""
        return sum(self.sizes)

    @property
    def shared(self) -> bool:
        """Whether all losses are compared at the same tensors."""
        return all(len(of) == len(self.tensors) for of in self.of_loss)

    @property
    def items(self) -> tuple[int, ...]:
        """How many items the norm of each loss's gradient is averaged over: the samples, or 1 for parameters."""
        if self.parameters:
            return (1,) * len(self.of_loss)
        first = [tensor.shape[0] if tensor.dim() else 1 for tensor in self.tensors]
        return tuple(first[of[0]] if of else 1 for of in self.of_loss)

    def check_items(self) -> None:
        """Raise :class:`SignalError` if the tensors of a loss's anchor are not features of the same samples."""
        for of in () if self.parameters else set(self.of_loss):
            shapes = [self.tensors[i].shape for i in of]
            if len({tuple(shape[:1]) for shape in shapes}) > 1:
                found = " and ".join(str(list(shape)) for shape in shapes)
                raise SignalError(
                    "The features of an anchor must have the samples as their first dimension, so that gradients of "
                    f"samples can be told apart, but their shapes are {found}. Pass features of one first dimension, "
                    "parameters, or an anchor for each loss."
                )


def locate(anchor: Anchor | None, names: Sequence[str], asked_by: str) -> AnchorPoint:
    """The tensors that the caller's ``anchor`` names for the losses ``names``.

    Raises :class:`SignalError` where there is no anchor, or where no gradient can be measured at it; ``asked_by`` is
    the weighting that needs it.
    """
    tensors, of_loss = named(anchor, names, asked_by)
    for tensor in tensors:
        check_carries(tensor.requires_grad, tensor.shape)
    # A leaf that is not a parameter is the output of a frozen network: each rank has its own.
    parameters = all(isinstance(t, nn.Parameter) for t in tensors)
    if not parameters and any(isinstance(t, nn.Parameter) for t in tensors):
        raise SignalError("An anchor must be features or parameters, but it mixes both. Pass one kind.")
    return AnchorPoint(tensors, of_loss, parameters)


def named(
    anchor: Anchor | None, names: Sequence[str], asked_by: str
) -> tuple[tuple[Tensor, ...], tuple[tuple[int, ...], ...]]:
    """The tensors of ``anchor``, each once, and the places of those of each loss; nothing is asked of the tensors."""
    if anchor is None:
        raise SignalError(
            f"Weighting {asked_by!r} needs gradients at an anchor, but losses() returned none. "
            "Return LossTable(..., anchor=features), or pass anchor=features to the balancer."
        )
    if isinstance(anchor, Mapping):
        _check_names(anchor, names)
        each = {name: _tensors(anchor[name]) if name in anchor else () for name in names}
    else:
        each = dict.fromkeys(names, _tensors(anchor))
    tensors = tuple({id(t): t for of in each.values() for t in of}.values())
    require(bool(tensors), "An anchor must hold tensors", "it is empty")
    at = {id(t): i for i, t in enumerate(tensors)}
    return tensors, tuple(tuple(at[id(t)] for t in each[name]) for name in names)


def check_carries(gradients: bool, shape: Sequence[int]) -> None:
    """Raise :class:`SignalError` for a tensor of an anchor that carries no gradients."""
    if not gradients:
        raise SignalError(
            f"An anchor must carry gradients, but a tensor of shape {list(shape)} does not. "
            "Pass the features that the losses are computed from, not detached and not under no_grad. If the "
            "network is frozen, call features.requires_grad_() before the heads."
        )


def _check_names(anchor: Mapping[str, object], names: Sequence[str]) -> None:
    strange = [name for name in anchor if name not in names]
    if strange:
        raise SignalError(
            f"The keys of an anchor must be names of what is weighed ({', '.join(names)}), but one is {strange[0]!r}. "
            "For the same tensors for all losses pass list(anchor.values())."
        )


def _tensors(anchor: object) -> tuple[Tensor, ...]:
    """The tensors of ``anchor``, without the parameters that are frozen where others are not."""
    found = tuple(_each(anchor))
    trained = tuple(one for one in found if one.requires_grad or not isinstance(one, nn.Parameter))
    return trained or found


def _each(anchor: object) -> Iterator[Tensor]:
    if isinstance(anchor, Tensor):
        yield anchor
    elif isinstance(anchor, nn.Module):
        yield from anchor.parameters()
    elif isinstance(anchor, Sequence) and not isinstance(anchor, str):
        for one in anchor:
            yield from _each(one)
    else:
        found = repr(anchor) if isinstance(anchor, str) else f"of type {type(anchor).__name__}"
        raise SignalError(
            f"An anchor must be a tensor, tensors in a list, a module, or one of these for each loss by name, but it "
            f"or a part of it is {found}."
        )

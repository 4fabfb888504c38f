"""The tensors at which the losses' gradients are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from autoloss.core.errors import SignalError, require
from autoloss.core.table import Anchor


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
    def size(self) -> int:
        """The number of coordinates of all tensors together."""
        return sum(tensor.numel() for tensor in self.tensors)

    @property
    def items(self) -> int:
        """How many items the gradient's norm is averaged over: the samples, or 1 for parameters."""
        return 1 if self.parameters else self.tensors[0].shape[0] if self.tensors[0].dim() else 1


def locate(anchor: Anchor | None, names: Sequence[str], asked_by: str) -> AnchorPoint:
    """The tensors that the caller's ``anchor`` names for the losses ``names``.

    Raises :class:`SignalError` where there is no anchor, or where no gradient can be measured at it; ``asked_by`` is
    the weighting that needs it.
    """
    if anchor is None:
        raise SignalError(
            f"Weighting {asked_by!r} needs gradients at an anchor, but losses() returned none. "
            "Return LossTable(..., anchor=features), or pass anchor=features to the balancer."
        )
    each = (
        {name: _tensors(anchor[name]) if name in anchor else () for name in names}
        if isinstance(anchor, Mapping)
        else dict.fromkeys(names, _tensors(anchor))
    )
    tensors = tuple({id(t): t for of in each.values() for t in of}.values())
    require(bool(tensors), "An anchor must hold tensors", "it is empty")
    at = {id(t): i for i, t in enumerate(tensors)}
    for tensor in tensors:
        if not tensor.requires_grad:
            raise SignalError(
                f"An anchor must carry gradients, but a tensor of shape {list(tensor.shape)} does not. "
                "Pass the features that the losses are computed from, not detached and not under no_grad. If the "
                "network is frozen, call features.requires_grad_() before the heads."
            )
    # A leaf that is not a parameter is the output of a frozen network: each rank has its own.
    parameters = all(isinstance(t, nn.Parameter) for t in tensors)
    if not parameters and any(isinstance(t, nn.Parameter) for t in tensors):
        raise SignalError("An anchor must be features or parameters, but it mixes both. Pass one kind.")
    return AnchorPoint(tensors, tuple(tuple(at[id(t)] for t in each[name]) for name in names), parameters)


def _tensors(anchor: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (anchor,) if isinstance(anchor, Tensor) else tuple(anchor)

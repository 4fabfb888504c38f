"""Forward mode without torch's work on derivatives that are 0."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LAYERS = {functional.linear: 0, functional.conv1d: 1, functional.conv2d: 2, functional.conv3d: 3}  # axes of space
DIVIDED = {torch.div, torch.true_divide, Tensor.div}
SCALED = {torch.mul, Tensor.mul} | DIVIDED
SHIFTED = {torch.add, torch.sub, Tensor.add, Tensor.sub}


class Constants(TorchFunctionMode):
    """Makes forward mode treat results under ``no_grad`` as constants, as a backward does."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with nullcontext() if torch.is_grad_enabled() else forward_ad._set_fwd_grad_enabled(False):
            return func(*args, **(kwargs or {}))


class Shortcuts(Constants):
    """Makes forward mode treat as constants what a backward does: results under ``no_grad``, data, targets, numbers.

    Without it forward mode multiplies a layer's weights by the derivative of the
    data, a full tensor of zeros: a third of the time of a first convolution. And where one side of a sum or a product
    is a constant, torch makes a tensor of zeros for its derivative and computes the shape in Python, which takes a
    hundred times as long as the operation on a batch.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            return super().__torch_function__(func, types, args, kwargs)
        dual = None
        if func in LAYERS:
            dual = _layer(func, args, kwargs)
        elif func in SCALED or func in SHIFTED:
            dual = _with_constant(func, args, kwargs)
        elif func is functional.group_norm and args:
            # torch's derivative of it takes a view, which channels in the last place (some convolutions') forbid.
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **kwargs) if dual is None else dual


def _layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The dual output of a layer that is linear in its input and in its weights; ``None`` to leave it to torch.

    If only the weights have a derivative, the output's derivative is the layer with the derivative for weights; if only
    the input has one, it is the layer of that. If both have one, it is the sum of two convolutions, which is
    computed as one with twice the channels: it costs less than two.
    """
    if len(args) < 2:
        return None
    (x, dx), (weight, dweight) = _parts(args[0]), _parts(args[1])
    both = dx is not None and dweight is not None
    if (dx is None and dweight is None) or (both and not LAYERS[func]):
        return None
    bias = args[2] if len(args) > 2 else kwargs.get("bias")
    shift, dshift = _parts(bias)
    groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
    if _has_graph(*args[:2], bias) or (both and groups != 1):
        return None
    along = (x if dx is None else dx), (weight if dweight is None else dweight)
    if dx is not None and dweight is not None:
        along = torch.cat([dx, x], -1 - LAYERS[func]), torch.cat([weight, dweight], 1)
    rest = {key: value for key, value in kwargs.items() if key != "bias"}
    return forward_ad.make_dual(func(x, weight, shift, *args[3:], **rest), func(*along, dshift, *args[3:], **rest))


def _with_constant(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The dual result of a sum or product of which one side has no derivative; ``None`` in other cases."""
    if len(args) != 2 or kwargs or _has_graph(*args):
        return None
    (one, done), (other, dother) = map(_parts, args)
    if (done is None) == (dother is None) or (dother is not None and func in DIVIDED):
        return None
    if func in SHIFTED:
        # A new tensor and not the given derivative, which an operation in place on the sum would change.
        along = (_zeros(one), dother) if done is None else (done, _zeros(other))
    else:
        along = (one, dother) if done is None else (done, other)
    return forward_ad.make_dual(func(one, other), func(*along))


def _zeros(constant: Any) -> Any:
    return constant.new_zeros(()).expand_as(constant) if isinstance(constant, Tensor) else 0


def _parts(value: Any) -> tuple[Any, Tensor | None]:
    return forward_ad.unpack_dual(value) if isinstance(value, Tensor) else (value, None)


def _has_graph(*values: Any) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)

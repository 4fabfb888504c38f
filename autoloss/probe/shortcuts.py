"""Forward mode without the work that torch does for derivatives that are not there."""

from __future__ import annotations

from collections.abc import Mapping
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


class Shortcuts(TorchFunctionMode):
    """What is a constant to a backward is one to forward mode: results under ``no_grad``, data, targets, numbers.

    Forward mode alone would differentiate through ``no_grad``. It would multiply a layer's weights by
    the data's derivative, a full tensor of zeros: a third of a first convolution. And where one side of
    a sum or a product is a constant, its derivative is a tensor whose shape is worked out in Python,
    which takes a hundred times as long as the operation on a batch.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            with forward_ad._set_fwd_grad_enabled(False):
                return func(*args, **kwargs)
        dual = None
        if func in LAYERS:
            dual = _layer(func, args, kwargs)
        elif func in SCALED or func in SHIFTED:
            dual = _with_constant(func, args, kwargs)
        return func(*args, **kwargs) if dual is None else dual


def _layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """A layer that is linear in its input and in its weights; ``None`` where torch's own way is as short.

    Its derivative is the layer of what has one: of the data with the weights' derivative, of the input's
    derivative with frozen weights. Where both have one these are two convolutions, whose sum is one with
    twice the channels, for less than the two.
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
    """A sum with or a product by what has no derivative; ``None`` where this is something else."""
    if len(args) != 2 or kwargs or _has_graph(*args):
        return None
    (one, done), (other, dother) = map(_parts, args)
    if (done is None) == (dother is None) or (dother is not None and func in DIVIDED):
        return None
    if func in SHIFTED:
        # A new tensor, and not the derivative that came in, which an operation in place on the sum would change.
        along = (_nothing(one), dother) if done is None else (done, _nothing(other))
    else:
        along = (one, dother) if done is None else (done, other)
    return forward_ad.make_dual(func(one, other), func(*along))


def _nothing(constant: Any) -> Any:
    return constant.new_zeros(()).expand_as(constant) if isinstance(constant, Tensor) else 0


def _parts(value: Any) -> tuple[Any, Tensor | None]:
    return forward_ad.unpack_dual(value) if isinstance(value, Tensor) else (value, None)


def _has_graph(*values: Any) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)

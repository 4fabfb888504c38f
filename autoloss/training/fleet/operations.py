"""Writes down the operations that a function makes of tensors, so that they can be made again without the function."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Run = Callable[..., Sequence[Tensor]]


class ByValueError(Exception):
    """A function that decides by the value of a tensor, which may be another one the next time."""


class _NoValues(TorchFunctionMode):
    """Within it no value of a tensor can be read where no operation is seen."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (Tensor.tolist, Tensor.numpy, Tensor.__array__):
            raise ByValueError(f"{func.__name__} gives values")
        return func(*args, **(kwargs or {}))


class Operations(TorchDispatchMode):
    """Within it every operation is written down, with the tensors that it is made of.

    Tensors that are neither ``inputs`` nor made of these are constants. ``vmap`` and autograd are above: what is
    written down is what is left of them. :meth:`program` gives what computes the same from other inputs of the same
    shapes. ``make_fx`` of torch does this too, and takes twenty times as long, since it describes each tensor.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._graph, self._constants = fx.Graph(), torch.nn.Module()
        self._inputs = [self._graph.placeholder(f"input_{i}") for i in range(len(inputs))]
        self._nodes = dict(zip(map(id, inputs), self._inputs, strict=True))
        self._kept: list[Any] = list(inputs)  # no other tensor gets the identity of one that is gone
        self._values = _NoValues()

    def __enter__(self) -> Operations:
        self._values.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._values.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.lift_fresh.default:
            # What `torch.tensor` makes may be written to: this call and each repeat need one of their own.
            func = torch.ops.aten.lift_fresh_copy.default
        found = func(*args, **(kwargs or {}))
        node = self._graph.call_function(func, self._of(args), self._of(kwargs or {}))
        if isinstance(found, Tensor):
            self._keep(found, node)
        elif isinstance(found, (list, tuple)) and all(isinstance(one, Tensor) for one in found):
            for i, one in enumerate(found):
                self._keep(one, self._graph.call_function(operator.getitem, (node, i)))
        elif found is not None:
            raise ByValueError(f"{func} gives {type(found).__name__}")
        return found

    def program(self, outputs: Sequence[Tensor]) -> tuple[Run, list[bool]]:
        """What computes ``outputs`` from the inputs, and which inputs it uses."""
        self._graph.output(self._of(list(outputs)))
        self._graph.eliminate_dead_code()
        used = [bool(node.users) for node in self._inputs]
        run: Run = fx.GraphModule(self._constants, self._graph).forward
        return run, used

    def _keep(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)

    def _of(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in self._nodes:
                name = f"constant_{len(self._kept)}"
                self._constants.register_buffer(name, value)
                self._keep(value, self._graph.get_attr(name))
            return self._nodes[id(value)]
        if isinstance(value, (list, tuple)):
            return type(value)(self._of(one) for one in value)
        return {key: self._of(one) for key, one in value.items()} if isinstance(value, dict) else value

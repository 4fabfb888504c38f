"""M modules of one structure as one: their tensors are stacked, and so are the numbers in which they differ."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from autoloss.core.errors import ConfigError
from autoloss.training.fleet.memory_order import chosen_of, stack

Path = tuple[Any, ...]
PLAIN = (str, bool, type(None), bytes, torch.dtype, torch.device)
FIXED = "(fixed)"  # ends the place of a setting that cannot be given a tensor
LOOKS = 6  # calls with no operation that needs a rule, after which operations are not looked at any more
LARGE = 10_000  # numbers of a tensor that is compared by value
OUT_OF_PLACE = {
    Tensor.clamp_: Tensor.clamp,
    Tensor.clamp_min_: Tensor.clamp_min,
    Tensor.lerp_: Tensor.lerp,
    Tensor.addcmul_: Tensor.addcmul,
    Tensor.addcdiv_: Tensor.addcdiv,
    Tensor.square_: Tensor.square,
}
_OF_TORCH = {*vars(nn.Module())} - {"training"}


class UnlikeError(ConfigError):
    """Modules that differ in more than numbers, so that they cannot be one."""


class Stacked:
    """Calls functions of M modules at once, with their parameters, buffers and numbers stacked along a first axis.

    The modules must have one structure: the same classes, shapes and settings. A number (an attribute that is an int or
    a float, also within dicts, lists and tuples) may differ; in :meth:`call` it is a tensor without dimensions then.
    The modules' own parameters and buffers become views of the stacked ones, so that each module stays what it is.
    """

    def __init__(self, modules: Sequence[nn.Module], views: bool = True) -> None:
        self.modules = list(modules)
        self.views = views
        self._looks: float = LOOKS
        first = _tensors(self.modules[0])
        for module in self.modules[1:]:
            _check_alike(first, _tensors(module))
        self.parameters = self._stack(lambda module: dict(module.named_parameters()))
        self.buffers = self._stack(lambda module: dict(module.named_buffers()))
        self.numbers = differing(self.modules)
        self._look()

    def __len__(self) -> int:
        return len(self.modules)

    def read_numbers(self) -> None:
        """Read the numbers in which the modules differ again, since they have changed."""
        self.numbers = differing(self.modules)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all modules but ``members``; their parameters and buffers are new tensors then."""
        chosen = torch.tensor(list(members))
        self.modules = [self.modules[i] for i in members]
        for tensors in (self.parameters, self.buffers):
            for name, tensor in tensors.items():
                kept = chosen_of(tensor.detach(), chosen)
                tensors[name] = kept.requires_grad_(tensor.requires_grad)
        self.numbers = {path: tensor[chosen] for path, tensor in self.numbers.items()}
        self._look()

    def part(self, members: Sequence[int], parameters: Mapping[str, Tensor] | None = None) -> Stacked:
        """A copy of the modules ``members``, with other ``parameters`` if they are given: it changes nothing here."""
        chosen, found = torch.tensor(list(members)), copy(self)
        found.modules, found.views = [self.modules[i] for i in members], False
        found.parameters = {
            name: chosen_of(tensor.detach(), chosen).requires_grad_(tensor.requires_grad)
            for name, tensor in self.parameters.items()
            if parameters is None or name not in parameters
        } | dict(parameters or {})
        found.buffers = {name: tensor.detach()[chosen.to(tensor.device)] for name, tensor in self.buffers.items()}
        found.numbers = {path: tensor[chosen] for path, tensor in self.numbers.items()}
        return found

    def call(
        self,
        function: Callable[..., Any],
        *stacked: Any,
        shared: Sequence[Any] = (),
    ) -> Any:
        """``function(module, *stacked, *shared)`` of all modules; what it gives is stacked.

        Each of ``stacked`` is tensors (also nested in dicts and lists) with a first axis of M. Random numbers differ
        between the modules. What is written to a buffer in place is kept.
        """
        caller = _Caller(self.modules[0])

        def one(parameters: Any, buffers: Any, numbers: Any, *own: Any) -> Any:
            tensors = {f"module.{name}": tensor for name, tensor in {**parameters, **buffers}.items()}
            with _set(self.modules[0], numbers):
                return functional_call(caller, tensors, (function, *own, *shared))

        # To look at each operation for a rule costs a tenth of a small network's forward.
        with WithRules() if self._looks > 0 else nullcontext() as rules:
            found = mapped(one, self.parameters, self.buffers, self.numbers, *stacked)
        if rules is not None:
            self._looks = math.inf if rules.used else self._looks - 1
        return found

    def _stack(self, tensors_of: Callable[[nn.Module], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        each = [tensors_of(module) for module in self.modules]
        return {
            name: stack([of[name].detach() for of in each], tensor.requires_grad).requires_grad_(tensor.requires_grad)
            for name, tensor in each[0].items()
        }

    def _look(self) -> None:
        """Make the modules' tensors views of the stacked ones."""
        if not self.views:
            return
        for i, module in enumerate(self.modules):
            for name, parameter in module.named_parameters():
                parameter.data = self.parameters[name].detach()[i]
            for name, _ in list(module.named_buffers()):
                owner, _, own = name.rpartition(".")
                module.get_submodule(owner)._buffers[own] = self.buffers[name].detach()[i]


class WithRules(TorchFunctionMode):
    """Within it operations in place that vmap has no rule for are made of those that it has.

    torch computes such an operation for one member after the other. ``used`` says whether there was one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        plain: Any = OUT_OF_PLACE.get(func)
        if plain is None:
            return func(*args, **(kwargs or {}))
        self.used = True
        return args[0].copy_(plain(*args, **(kwargs or {})))


def mapped(function: Callable[..., Any], *stacked: Any) -> Any:
    """``function`` of each member's part of ``stacked``, all at once; random numbers differ between the members."""
    with warnings.catch_warnings():
        # Operations without a rule for a batch are computed member by member.
        warnings.filterwarnings("ignore", message=".*have not yet implemented the batching rule.*")
        return vmap(function, randomness="different")(*stacked)


class _Caller(nn.Module):
    """A function of a module, as a module: ``functional_call`` takes nothing else."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.module, *args)


def _tensors(module: nn.Module) -> dict[str, tuple[Any, ...]]:
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: (tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in named}


def _check_alike(first: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for name in {**first, **other}:
        if first.get(name) != other.get(name):
            found = [list(of[name][0]) if name in of else "missing" for of in (first, other)]
            raise UnlikeError(
                f"Members of a fleet must have networks of one shape, but {name!r} is {found[0]} in one and "
                f"{found[1]} in another. Train them apart."
            )


def settings(module: nn.Module) -> Iterator[tuple[Path, Any]]:
    """All that ``module`` and its parts hold besides tensors that torch knows, each with its place.

    A place that ends in ``FIXED`` cannot be given a tensor.
    """
    for name, part in module.named_modules():
        yield (name, "class", FIXED), type(part)
        for key, value in vars(part).items():
            if key not in _OF_TORCH:
                yield from _leaves((name, key), value, {id(module), id(part)})


def _leaves(path: Path, value: Any, seen: set[int]) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value
    elif isinstance(value, PLAIN):
        yield (*path, FIXED), value
    elif id(value) in seen or isinstance(value, nn.Module):
        return
    elif isinstance(value, Mapping):
        yield (*path, "keys", FIXED), tuple(map(str, value))
        for key, inner in value.items():
            yield from _leaves((*path, key), inner, seen | {id(value)})
    elif isinstance(value, (list, tuple)):
        yield (*path, "length", FIXED), len(value)
        for number, inner in enumerate(value):
            yield from _leaves((*path, number), inner, seen | {id(value)})
    else:
        for place, inner in _hidden(value, seen | {id(value)}):
            yield (*path, *place, FIXED), inner


def _hidden(value: Any, seen: set[int]) -> Iterator[tuple[Path, Any]]:
    """What an object holds that is neither a number nor a collection: it may not differ."""
    yield ("type",), type(value)
    if isinstance(value, Tensor):
        yield ("tensor",), tuple(value.detach().flatten().tolist()) if value.numel() < LARGE else id(value)
        return
    if isinstance(value, (set, frozenset)):
        yield ("set",), frozenset(value)
        return
    inside = dict(vars(value)) if hasattr(value, "__dict__") else {}
    for part in type(value).__mro__:
        inside |= {key: getattr(value, key) for key in getattr(part, "__slots__", ()) if hasattr(value, key)}
    if isinstance(value, FunctionType):
        yield ("code",), value.__code__
        inside |= {f"cell {i}": cell.cell_contents for i, cell in enumerate(value.__closure__ or ())}
        inside |= {f"default {i}": default for i, default in enumerate(value.__defaults__ or ())}
    elif isinstance(value, MethodType):
        inside |= {"function": value.__func__}
    elif isinstance(value, partial):
        inside |= {"function": value.func, "arguments": value.args, "keywords": value.keywords}
    elif not inside and not isinstance(value, type):
        yield ("value",), repr(value)
    elif isinstance(value, type):
        yield ("class",), value
        return
    for key, inner in inside.items():
        yield from _leaves((key,), inner, seen)


def structure(module: nn.Module) -> str:
    """What must be the same for modules to be stacked; numbers are left out."""
    return repr([(path, value if FIXED in path else None) for path, value in settings(module)])


def differing(modules: Sequence[nn.Module]) -> dict[Path, Tensor]:
    """The numbers in which the modules differ, [M] each. Raises :class:`UnlikeError` if more than numbers differs."""
    each = [dict(settings(module)) for module in modules]
    numbers = {}
    for path in {path: None for of in each for path in of}:
        values = [of.get(path) for of in each]
        if all(type(value) is type(values[0]) and value == values[0] for value in values[1:]):
            continue
        if FIXED in path or any(value is None for value in values):
            other = next(value for value in values if value != values[0])
            place = ".".join(str(part) for part in path if part not in ("", FIXED))
            raise UnlikeError(
                f"Members of a fleet may differ in numbers only, but {place} is {values[0]!r} in one and {other!r} in "
                "another. Train them apart."
            )
        numbers[path] = torch.tensor(values, dtype=torch.get_default_dtype())
    return numbers


@contextmanager
def _set(module: nn.Module, numbers: Mapping[Path, Tensor]) -> Iterator[None]:
    """Within it ``module`` has ``numbers`` in their places."""
    before: list[tuple[nn.Module, str, Any]] = []
    try:
        for (name, key, *inside), number in numbers.items():
            part = module.get_submodule(name)
            before.append((part, key, vars(part)[key]))
            vars(part)[key] = _replaced(vars(part)[key], inside, number)
        yield
    finally:
        for part, key, value in reversed(before):
            vars(part)[key] = value


def _replaced(value: Any, inside: Sequence[Any], number: Tensor) -> Any:
    if not inside:
        return number
    key, *rest = inside
    if isinstance(value, Mapping):
        return {**value, key: _replaced(value[key], rest, number)}
    items = list(value)
    items[key] = _replaced(items[key], rest, number)
    return tuple(items) if isinstance(value, tuple) else items

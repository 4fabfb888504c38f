"""Optimisers whose numbers (learning rate, weight decay, betas) may differ from member to member."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from autoloss.probe.optimizer_step import adam_slope, sgd_slope
from autoloss.training.fleet.memory_order import chosen_of, in_memory_order

Numbers = Mapping[str, Any]  # floats, or tensors where members differ
FUSED = ("cpu", "cuda")  # devices for which torch has one kernel for the whole step


class StackedOptimizer(ABC):
    """One step of M optimisers of one kind, on parameters [M, ...], whose parts are the members' ``own``.

    ``numbers`` are the options that may differ, ``settings`` those that must not. Where none differs, torch's own
    function makes the step. ``saved`` holds torch's names of the state.
    """

    numbers: ClassVar[tuple[str, ...]]
    settings: ClassVar[tuple[str, ...]]
    saved: ClassVar[Mapping[str, str]]

    def __init__(
        self, optimizers: Sequence[Optimizer], parameters: Sequence[Tensor], own: Sequence[Sequence[Tensor]]
    ) -> None:
        self.optimizers, self.parameters = list(optimizers), list(parameters)
        self.own = [list(of) for of in own]
        self.steps = 0
        self.missed = [0] * len(self.optimizers)  # the steps that each member did not make
        self.state: list[dict[str, Tensor]] = [{} for _ in self.parameters]
        self.fixed = {name: self.optimizers[0].param_groups[0].get(name) for name in self.settings}

    def keep(self, members: Sequence[int], parameters: Sequence[Tensor]) -> None:
        """Drop all members but ``members``; ``parameters`` are the new stacked tensors."""
        chosen = torch.tensor(list(members))
        self.optimizers = [self.optimizers[i] for i in members]
        self.own = [self.own[i] for i in members]
        self.parameters = list(parameters)
        self.missed = [self.missed[i] for i in members]
        self.state = [
            {name: of if name == "step" else chosen_of(of, chosen) for name, of in state.items()}
            for state in self.state
        ]

    def state_of(self, member: int, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The ``state`` of one stacked parameter as that of one member's, by torch's names."""
        return {
            theirs: (state[ours] - self.missed[member] if ours == "step" else state[ours][member].clone())
            for ours, theirs in self.saved.items()
            if ours in state
        }

    def numbers_of(self, members: Sequence[int]) -> list[dict[str, float]]:
        """The present options of ``members``."""
        return [_flat(self.optimizers[m].param_groups[0], self.numbers) for m in members]

    @torch.no_grad()
    def step(self) -> None:
        """Make the step with the gradients of the parameters, and drop them."""
        self.steps += 1
        here = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        parameters, states = [self.parameters[i] for i in here], [self.state[i] for i in here]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        read = self.numbers_of(range(len(self.optimizers)))
        if all(of == read[0] for of in read) and not any(self.missed):
            self.at_once(parameters, gradients, states, read[0])
        else:
            for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
                self.change(parameter, gradient, state, _beside(read, parameter))
        for parameter in parameters:
            parameter.grad = None

    def made(self, parameter: Tensor) -> Any:
        """The steps that were made: a number, or beside ``parameter`` where members missed some."""
        return _column([self.steps - n for n in self.missed], parameter) if any(self.missed) else self.steps

    @abstractmethod
    def at_once(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]], numbers: Any
    ) -> None:
        """Change ``parameters`` and ``states`` in place, with the same ``numbers`` for all members."""

    @abstractmethod
    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Numbers) -> None:
        """Change ``parameter`` and ``state`` in place; ``numbers`` that differ have the parameter's dimensions."""

    @abstractmethod
    def slope(
        self,
        place: int,
        members: Tensor,
        read: Sequence[Mapping[str, float]],
        gradient: Tensor,
        before: Tensor,
        first: bool,
    ) -> Tensor:
        """The derivative of the last step of ``members`` with respect to their ``gradient``, without its sign.

        ``place`` is that of the parameter, ``before`` what it was, and ``read`` the members' options in that step,
        which was the ``first`` of this parameter or not.
        """


class StackedSGD(StackedOptimizer):
    """SGD with momentum, as torch's."""

    numbers = ("lr", "weight_decay", "momentum", "dampening")
    settings = ("nesterov", "maximize")
    saved = {"momentum": "momentum_buffer"}

    def at_once(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]], numbers: Any
    ) -> None:
        averages = [state.get("momentum") for state in states]
        sgd(
            parameters,
            gradients,
            averages,
            foreach=False,
            maximize=False,
            nesterov=bool(self.fixed["nesterov"]),
            **numbers,
        )
        for state, average in zip(states, averages, strict=True):
            if average is not None:
                state["momentum"] = average

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Numbers) -> None:
        if _on(numbers["weight_decay"]):
            gradient = gradient + numbers["weight_decay"] * parameter
        if _on(numbers["momentum"]):
            if "momentum" not in state:
                state["momentum"] = gradient.clone()
            else:
                # torch does not dampen the first gradient.
                damped = 1 - numbers["dampening"] * (self.made(parameter) > 1)
                state["momentum"].mul_(numbers["momentum"]).add_(damped * gradient)
            average = state["momentum"]
            gradient = gradient + numbers["momentum"] * average if self.fixed["nesterov"] else average
        parameter.sub_(numbers["lr"] * gradient)

    def slope(
        self,
        place: int,
        members: Tensor,
        read: Sequence[Mapping[str, float]],
        gradient: Tensor,
        before: Tensor,
        first: bool,
    ) -> Tensor:
        each = [of["lr"] * sgd_slope({**of, "nesterov": self.fixed["nesterov"]}, first) for of in read]
        return _column(each, before)


class StackedAdam(StackedOptimizer):
    """Adam as torch's; ``weight_decay`` is added to the gradient."""

    numbers = ("lr", "weight_decay", "betas", "eps")
    settings = ("amsgrad", "maximize")
    saved = {"step": "step", "first": "exp_avg", "second": "exp_avg_sq"}
    decoupled = False

    def at_once(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]], numbers: Any
    ) -> None:
        for state, parameter in zip(states, parameters, strict=True):
            _begin(state, parameter)
        changed = [in_memory_order(parameter) for parameter in parameters]
        first, second = ([in_memory_order(state[name]) for state in states] for name in ("first", "second"))
        # The kernel goes through memory from end to end, whatever the order of dimensions.
        whole = all(one.is_contiguous() for one in (*changed, *first, *second))
        (adamw if self.decoupled else adam)(
            changed,
            [in_memory_order(gradient) for gradient in gradients],
            first,
            second,
            [],
            [state["step"] for state in states],
            fused=whole and changed[0].device.type in FUSED,
            foreach=False,
            amsgrad=False,
            maximize=False,
            beta1=numbers["betas0"],
            beta2=numbers["betas1"],
            lr=numbers["lr"],
            weight_decay=numbers["weight_decay"],
            eps=numbers["eps"],
        )

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Numbers) -> None:
        _begin(state, parameter)
        state["step"].add_(1)
        if _on(numbers["weight_decay"]):
            if self.decoupled:
                parameter.mul_(1 - numbers["lr"] * numbers["weight_decay"])
            else:
                gradient = gradient + numbers["weight_decay"] * parameter
        beta1, beta2 = numbers["betas0"], numbers["betas1"]
        state["first"].lerp_(gradient, 1 - beta1)
        state["second"].mul_(beta2).add_(gradient * gradient * (1 - beta2))
        made = self.made(parameter)
        root = state["second"].sqrt().div_((1 - beta2**made) ** 0.5).add_(numbers["eps"])
        parameter.addcdiv_(state["first"] * (-numbers["lr"] / (1 - beta1**made)), root)

    def slope(
        self,
        place: int,
        members: Tensor,
        read: Sequence[Mapping[str, float]],
        gradient: Tensor,
        before: Tensor,
        first: bool,
    ) -> Tensor:
        numbers, state = _beside(read, before), self.state[place]
        if _on(numbers["weight_decay"]) and not self.decoupled:
            gradient = gradient + numbers["weight_decay"] * before
        options = {"betas": (numbers["betas0"], numbers["betas1"]), "eps": numbers["eps"], "amsgrad": False}
        own = {"step": state["step"], "exp_avg": state["first"][members], "exp_avg_sq": state["second"][members]}
        found: Tensor = numbers["lr"] * adam_slope(options, own, gradient)
        return found.to(before.dtype)


class StackedAdamW(StackedAdam):
    """AdamW as torch's; the decay is apart from the gradient."""

    decoupled = True


def _begin(state: dict[str, Tensor], parameter: Tensor) -> None:
    if not state:
        state |= {"first": torch.zeros_like(parameter), "second": torch.zeros_like(parameter)}
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)


def _beside(read: Sequence[Mapping[str, float]], parameter: Tensor) -> Numbers:
    """The numbers of all members: those that differ as tensors [M, 1, ...] like ``parameter``."""
    found: dict[str, Any] = {}
    for name, value in read[0].items():
        each = [of[name] for of in read]
        if all(one == value for one in each):
            found[name] = value
        else:
            found[name] = _column(each, parameter)
    return found


def _column(each: Sequence[float], parameter: Tensor) -> Tensor:
    """A number of each member, [M, 1, ...], beside ``parameter`` [M, ...]."""
    found = torch.tensor(each, dtype=torch.float64).to(parameter.device, parameter.dtype)
    return found.view(-1, *[1] * (parameter.dim() - 1))


def _on(number: Any) -> bool:
    return isinstance(number, Tensor) or bool(number)


def _flat(group: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        value = group[name]
        values = value if isinstance(value, (tuple, list)) else (value,)
        found |= {name if len(values) == 1 else f"{name}{i}": float(one) for i, one in enumerate(values)}
    return found

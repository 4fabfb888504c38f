"""The step that an optimiser took, and the derivative of that step with respect to the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSprop

from autoloss.core.errors import ConfigError, SignalError
from autoloss.probe.clipping import Unclipped, clipping_factors
from autoloss.probe.step_slopes import adagrad_slope, nadam_slope, rmsprop_slope

KNOWN = (SGD, Adam, AdamW, RMSprop, Adagrad, NAdam)
# Why the step of others has no derivative that a look-ahead could use.
WHY_NOT = {
    "Lion": ", which steps by signs: a change of the gradient changes nothing",
    "Muon": ", which makes each matrix orthogonal: its step is no function of single coordinates",
    "LBFGS": ", which makes several steps at once",
}
Arguments = tuple[Any, ...]
Named = dict[str, Any]
WRAPPERS = ("accelerate", "lightning", "pytorch_lightning")


class OptimizerStep:
    """Keeps what one step starts from: parameters, options, and which parameters have no momentum yet.

    Several ``optimizers`` may make the step together, each of its own parameters. One that Accelerate or Lightning
    wrapped is looked at inside.

    The step is ``p' = p - lr h(c g)`` for each coordinate, with g the gradient of the total and c the factor of
    clipping, which is taken for a constant. :meth:`jacobian_times` multiplies by ``lr h'(c g) c``, which it computes
    after the step from the optimiser's state and the gradients; c is ``1`` where the backward was not seen
    (:func:`observe_step`). L2 weight decay is part of what h is of, so h' is evaluated at the gradient with the decay;
    decoupled weight decay adds nothing to h'. Raises :class:`ConfigError` for an optimiser that is not one of
    :data:`KNOWN`.
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = [unwrapped(optimizer) for optimizer in optimizers]
        for optimizer in self.optimizers:
            check_optimizer(type(optimizer))
        self.before: dict[Tensor, Tensor] = {}
        self._options: dict[Tensor, dict[str, Any]] = {}
        self._owner: dict[Tensor, Optimizer] = {}
        self._without_momentum: set[Tensor] = set()
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        self.unclipped = Unclipped(one for group in groups for one in group["params"])
        self._clipped: dict[Tensor, Tensor] = {}

    def __bool__(self) -> bool:
        """Whether a step was taken: a gradient scaler may have skipped it."""
        return bool(self.before)

    def note(self, optimizer: Optimizer, given: Arguments, named: Named) -> tuple[Arguments, Named] | None:
        """Keep what the step starts from; the optimiser calls this before its step, with the step's arguments."""
        if any(owner is optimizer for owner in self._owner.values()):
            raise SignalError("A look-ahead must hold one optimiser step, but there were two. Put one into each.")
        for group in optimizer.param_groups:
            options = {k: v.clone() if isinstance(v, Tensor) else v for k, v in group.items() if k != "params"}
            for parameter in group["params"]:
                if not parameter.requires_grad:
                    continue
                self.before[parameter] = parameter.detach().clone()
                self._options[parameter], self._owner[parameter] = options, optimizer
                if optimizer.state[parameter].get("momentum_buffer") is None:
                    self._without_momentum.add(parameter)
        # A closure computes the gradients within the step: Lightning's does that, and clips them.
        closure = named.get("closure") or next((one for one in given[1:] if callable(one)), None)
        if closure is None:
            self._note_used(optimizer)
            return None

        def closed() -> Any:
            found = closure()
            self._note_used(optimizer)
            return found

        if "closure" in named:
            return given, {**named, "closure": closed}
        return tuple(closed if one is closure else one for one in given), named

    def _note_used(self, optimizer: Optimizer) -> None:
        """Keep the gradients that ``optimizer`` uses: a fused one divides by the scaler's factor in its step."""
        scale = getattr(optimizer, "grad_scale", None)
        for parameter, owner in self._owner.items():
            if owner is optimizer and parameter.grad is not None and parameter in self.unclipped.gradients:
                gradient = parameter.grad.detach()
                # A copy: some optimisers write into the gradients.
                self._clipped[parameter] = gradient.clone() if scale is None else gradient / scale

    def jacobian_times(self, gradient: Mapping[Tensor, Tensor], scale: Tensor | float = 1.0) -> dict[Tensor, Tensor]:
        """``lr h'(c g) c`` times ``gradient``, a tensor for each parameter that was stepped.

        ``-<this direction, gradient of L_k>`` is the derivative, with respect to the weight of loss k, of the objective
        whose ``gradient`` this is. The backward's gradients are those of the losses times ``scale``. Raises
        :class:`SignalError` if the parameters have no ``.grad`` any more.
        """
        factors = clipping_factors(self.unclipped.gradients, self._clipped, scale)
        found = {
            parameter: self._slope(parameter) * _scaled(gradient[parameter], factors.get(parameter))
            for parameter in self.before
            if parameter.grad is not None and parameter in gradient
        }
        if not found:
            raise SignalError(
                "The gradients must still be there when a look-ahead ends, but there are none. "
                "Call zero_grad() before the backward."
            )
        return found

    @property
    def gradients(self) -> dict[Tensor, Tensor]:
        """The step's gradients as the backward left them, or as the optimiser used them if it was not seen."""
        if self.unclipped.gradients:
            return self.unclipped.gradients
        return {parameter: parameter.grad.detach() for parameter in self.before if parameter.grad is not None}

    def _slope(self, parameter: Tensor) -> Tensor | float:
        options, optimizer = self._options[parameter], self._owner[parameter]
        sign = -1 if options["maximize"] else 1
        if isinstance(optimizer, SGD):
            return sign * options["lr"] * sgd_slope(options, parameter in self._without_momentum)
        if parameter.is_complex():
            raise ConfigError(
                f"A look-ahead through {type(optimizer).__name__} needs real parameters, but one is complex, "
                f"{list(parameter.shape)}. Keep pairs of real numbers (torch.view_as_complex in forward), or use SGD."
            )
        assert parameter.grad is not None
        gradient = sign * parameter.grad
        if options["weight_decay"] and not options.get("decoupled_weight_decay", isinstance(optimizer, AdamW)):
            gradient = gradient + options["weight_decay"] * self.before[parameter]
        slope = next(of for kind, of in SLOPES.items() if isinstance(optimizer, kind))
        return sign * options["lr"] * slope(options, optimizer.state[parameter], gradient)


@contextmanager
def observe_step(*optimizers: Optimizer) -> Iterator[OptimizerStep]:
    """Within it one step of ``optimizers`` may be taken: the :class:`OptimizerStep` keeps what it starts from.

    The last backward of the step must lie within it too, for the factor of clipping to be known.
    """
    optimizer_step = OptimizerStep(*optimizers)
    handles = [optimizer.register_step_pre_hook(optimizer_step.note) for optimizer in optimizer_step.optimizers]
    handles += optimizer_step.unclipped.watch()
    try:
        yield optimizer_step
    finally:
        for handle in handles:
            handle.remove()


def unwrapped(optimizer: Any) -> Any:
    """The optimiser that makes the steps, inside the wrappers of Accelerate and Lightning."""
    # Others' wrappers (Lookahead, SAM) change the step; they are not looked through.
    while type(optimizer).__module__.partition(".")[0] in WRAPPERS and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def check_optimizer(optimizer: type[Optimizer]) -> None:
    """Raise :class:`ConfigError` unless the step of an ``optimizer`` of this class can be differentiated."""
    if optimizer not in KNOWN:
        names = ", ".join(one.__name__ for one in KNOWN)
        raise ConfigError(
            f"A look-ahead needs an optimiser whose step it can differentiate ({names}), but this is "
            f"{optimizer.__name__}{WHY_NOT.get(optimizer.__name__, '')}. Choose one of {names}."
        )


def _scaled(gradient: Tensor, factor: Tensor | None) -> Tensor:
    return gradient if factor is None else gradient * factor.to(gradient.dtype)


def sgd_slope(options: Mapping[str, Any], without_momentum: bool) -> float:
    """h'(g) of SGD with ``options``; ``without_momentum`` if the step was its first."""
    if not options["momentum"]:
        return 1.0
    # The first step fills the buffer with the gradient itself, without dampening.
    new = 1.0 if without_momentum else 1.0 - float(options["dampening"])
    return 1.0 + options["momentum"] * new if options["nesterov"] else new


def adam_slope(options: Mapping[str, Any], state: Mapping[str, Any], gradient: Tensor) -> Tensor:
    """h'(g) of Adam with ``options``, from its ``state`` after the step and the ``gradient``, L2 decay included."""
    first, second = options["betas"]
    # The count is a float32 tensor on the host: its powers are computed in float64, as Adam does, without a wait.
    steps = state["step"].double()
    first_correction, second_correction = 1 - first**steps, 1 - second**steps
    squares = state["max_exp_avg_sq"] if options["amsgrad"] else state["exp_avg_sq"]
    root = (squares / second_correction).sqrt()
    size = root + options["eps"]
    bend = state["exp_avg"] * gradient * ((1 - second) / (first_correction * second_correction)) / (root * size**2)
    moves = root > 0
    if options["amsgrad"]:
        moves = moves & (squares == state["exp_avg_sq"])
    return (1 - first) / first_correction / size - torch.where(moves, bend, torch.zeros_like(bend))


SLOPES: Mapping[type[Optimizer], Callable[[Mapping[str, Any], Mapping[str, Any], Tensor], Tensor]] = {
    Adam: adam_slope,
    AdamW: adam_slope,
    RMSprop: rmsprop_slope,
    Adagrad: adagrad_slope,
    NAdam: nadam_slope,
}

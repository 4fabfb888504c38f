"""Implicit differentiation: the effect of weights on converged parameters, instead of on the next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from autoloss.core.errors import require, unknown
from autoloss.probe.descent import mean_over_ranks

Direction = dict[Tensor, Tensor]
Product = Callable[[Direction], Direction]
METHODS = ("cg", "neumann")


@dataclass(frozen=True, slots=True)
class Implicit:
    """Solves ``H v = gradient``, H the Hessian of the weighted training loss: then ``dL / dw_k = -<v, grad L_k>``.

    ``neumann``: ``v = step sum_{j <= terms} (I - step H)^j gradient`` (Lorraine et al., 2020), which needs ``step``
    below 2 over the largest eigenvalue of H, and no negative eigenvalue. With ``terms=0`` it is the single step of
    Luketina et al. (2016). ``cg``: ``terms`` iterations of conjugate gradients on ``(H + damping I) v = gradient``;
    they end at the first direction whose curvature is not positive. Each term costs one product with H, about two
    backwards of the training batch, whose graph is kept until the end: with 5 terms a step costs as much as 15.
    """

    method: str = "cg"
    terms: int = 5
    step: float = 0.1
    damping: float = 0.01

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        require(self.terms >= 0, "`terms` must be at least 0", f"terms={self.terms}")
        require(self.step > 0, "`step` must be above 0", f"step={self.step}")
        require(self.damping >= 0, "`damping` must be at least 0", f"damping={self.damping}")

    def solve(self, product: Product, gradient: Mapping[Tensor, Tensor]) -> Direction:
        """``v``, a tensor for each parameter; ``product`` multiplies a direction by H."""
        return self._neumann(product, dict(gradient)) if self.method == "neumann" else self._cg(product, dict(gradient))

    def _neumann(self, product: Product, gradient: Direction) -> Direction:
        term = total = gradient
        for _ in range(self.terms):
            term = _add(term, product(term), -self.step)
            total = _add(total, term, 1.0)
        return {parameter: self.step * value for parameter, value in total.items()}

    def _cg(self, product: Product, gradient: Direction) -> Direction:
        solution = {parameter: torch.zeros_like(value) for parameter, value in gradient.items()}
        rest = along = gradient
        size = _dot(rest, rest)
        for _ in range(self.terms):
            curved = _add(product(along), along, self.damping)
            curvature = _dot(along, curved)
            # Without waiting for the device: from the first curvature that is not positive on, the length is 0.
            length = torch.where(curvature > 0, size / curvature.clamp(min=1e-300), 0.0)
            solution, rest = _add(solution, along, length), _add(rest, curved, -length)
            fresh = _dot(rest, rest)
            along = _add(rest, along, torch.where(size > 0, fresh / size.clamp(min=1e-300), 0.0))
            size = torch.where(length > 0, fresh, 0.0)
        return solution


def hessian_of(total: Callable[[], Tensor], network: nn.Module) -> Product:
    """A function that multiplies a direction by the Hessian of ``total()`` with respect to ``network``'s parameters.

    The product is averaged over ranks.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    strange = next((parameter for parameter in parameters if parameter.is_complex()), None)
    require(
        strange is None,
        "Implicit differentiation needs real parameters",
        f"one is complex, {list(parameters[0].shape if strange is None else strange.shape)}",
        "Keep pairs of real numbers: torch.view_as_complex in forward.",
    )
    value = total()
    # A backward under autocast would cast what the forward did not.
    outside = partial(torch.autocast, value.device.type, enabled=False)
    with outside():
        slopes = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True, materialize_grads=True)

    def product(direction: Direction) -> Direction:
        along = torch.stack([(slope * direction[p]).sum() for slope, p in zip(slopes, parameters, strict=True)]).sum()
        if not along.requires_grad:
            return {parameter: torch.zeros_like(parameter) for parameter in parameters}
        with outside():
            found = torch.autograd.grad(along, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        return mean_over_ranks(dict(zip(parameters, found, strict=True)))

    return product


def _dot(one: Direction, other: Direction) -> Tensor:
    return torch.stack([(value * other[parameter]).sum().double() for parameter, value in one.items()]).sum()


def _add(one: Direction, other: Direction, factor: Tensor | float) -> Direction:
    scale = factor if not isinstance(factor, Tensor) else factor.to(next(iter(one.values())).dtype)
    return {parameter: value + scale * other[parameter] for parameter, value in one.items()}

"""What happens to gradients between the backward and the optimiser's step: clipping, and a gradient scaler's factor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from autoloss.core.tensors.pairs import real

# A callback of a backward may add one: DDP's last one, which ends its reduction, is added by another one of its own.
AFTER_REDUCTION = 3
CLOSE = 1e-3
SMALL = 1e-6  # gradients that are smaller than this share of the largest one say nothing about the factor


class Received:
    """The gradient that the backward gave to a micro-batch's ``total``.

    It is the micro-batch's share in the step's gradient (1/n of a mean of n) times the factor of a gradient scaler.
    """

    def __init__(self, total: Tensor) -> None:
        self.gradient: Tensor | None = None
        if total.requires_grad:
            total.register_hook(self._note)

    def _note(self, gradient: Tensor) -> None:
        found = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
        self.gradient = found if self.gradient is None else self.gradient + found


def shares(received: Sequence[Received | None], micro_batches: int) -> tuple[list[Tensor | float], Tensor | float]:
    """The share of each micro-batch in the step's gradient, and the sum of what they ``received``.

    Where a backward was not seen, the step's gradient is taken for the mean of ``micro_batches``, and the sum is 1.
    """
    found = [one.gradient for one in received if one is not None and one.gradient is not None]
    if not found or len(found) < len(received):
        return [1 / micro_batches] * len(received), 1.0
    total = torch.stack(found).sum()
    scale = torch.where(total == 0, 1.0, total)
    return [gradient / scale for gradient in found], scale


class Unclipped:
    """The gradients of ``parameters`` as each backward leaves them, before a scaler or the caller changes them.

    They are copied when the backward ends, after DDP's reduction.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.gradients: dict[Tensor, Tensor] = {}
        self._waits = False

    def watch(self) -> list[RemovableHandle]:
        """Copy the gradients of every backward until the handles are removed."""
        return [one.register_post_accumulate_grad_hook(self._arrived) for one in self.parameters if one.is_leaf]

    def _arrived(self, parameter: Tensor) -> None:
        if not self._waits:
            self._waits = True
            self._call_later(AFTER_REDUCTION)

    def _call_later(self, rounds: int) -> None:
        later = self._copy if rounds == 0 else lambda: self._call_later(rounds - 1)
        # FSDP and DDP use this too: a public way to act at the end of a backward does not exist.
        torch.autograd.Variable._execution_engine.queue_callback(later)

    def _copy(self) -> None:
        self._waits = False
        self.gradients = {one: _dense(one.grad).clone() for one in self.parameters if one.grad is not None}


def clipping_factors(
    before: dict[Tensor, Tensor], after: dict[Tensor, Tensor], scale: Tensor | float
) -> dict[Tensor, Tensor]:
    """The factor that clipping gave to each coordinate of each parameter's gradient.

    ``before`` are the gradients that the backward left, divided by ``scale`` those of the losses, and ``after`` those
    that the optimiser used. A factor is found where ``after`` is ``before`` times one number for each parameter
    (clipping by norm), bounded by another (clipping by value). Otherwise something was added to the gradients, which
    does not change the losses' part, and the factor is 1.
    """
    made = {p: _factor(before[p], after[p], scale) for p in before if p in after}
    if not made:
        return {}
    to = next(iter(made.values())).largest
    columns = [[getattr(one, name).to(to) for one in made.values()] for name in ("smallest", "largest", "bound")]
    smallest, largest, bound = (torch.stack(column) for column in columns)
    known, several = (torch.stack([getattr(m, n).to(to.device) for m in made.values()]) for n in ("known", "several"))
    # A single number is any other times a factor. It is believed where that is between the factors of parameters with
    # several numbers, or where the number may be the bound.
    several = several & known | ~several.any()
    low, high = smallest.where(several, torch.inf).amin() - CLOSE, largest.where(several, -torch.inf).amax() + CLOSE
    bounded = (largest <= 1 + CLOSE) & (bound >= bound.amax() * (1 - CLOSE))
    believed = known & (several | ((largest >= low) & (largest <= high)) | bounded)
    common = largest.where(believed, -torch.inf).amax()
    common = torch.where(common.isfinite(), common, 1.0)
    found = {}
    for (parameter, one), good in zip(made.items(), believed.unbind(), strict=True):
        # Where a parameter's gradient is 0 throughout, the factor of the others is the best guess.
        otherwise = torch.where(before[parameter].any(), 1.0, common.to(one.factor))
        found[parameter] = torch.where(good.to(one.factor.device), one.factor, otherwise)
    return found


@dataclass(frozen=True, slots=True)
class _Factor:
    """The ``factor`` of each coordinate, whether it is ``known``, and whether ``several`` coordinates tell it.

    ``smallest`` and ``largest`` are those of the coordinates that tell it; ``bound`` is the largest gradient after it.
    """

    factor: Tensor
    smallest: Tensor
    largest: Tensor
    bound: Tensor
    known: Tensor
    several: Tensor


def _factor(before: Tensor, after: Tensor, scale: Tensor | float) -> _Factor:
    is_complex, before, after = before.is_complex(), real(before), real(_dense(after))
    precision = torch.finfo(before.dtype).eps
    wide = torch.promote_types(before.dtype, torch.float32)
    after = after.to(wide)
    expected = before.to(wide) / (scale.to(before.device, wide) if isinstance(scale, Tensor) else scale)
    size = expected.abs()
    tells = size > SMALL * size.amax()
    ratio = after / expected
    largest, bound = ratio.where(tells, -torch.inf).amax(), after.abs().amax()
    clipped = torch.minimum(torch.maximum(largest * expected, -bound), bound)
    close = (after - clipped).abs() <= 8 * precision * (clipped.abs() + SMALL * bound)
    known = close.all() & (largest > 0)
    factor = torch.where(expected == 0, largest, ratio)
    if is_complex:
        factor = factor[..., 0]  # clipping by norm; by value there is none for complex numbers
    return _Factor(factor, ratio.where(tells, torch.inf).amin(), largest, bound, known, tells.sum() > 1)


def _dense(gradient: Tensor) -> Tensor:
    gradient = gradient.detach()
    return gradient if gradient.layout is torch.strided else gradient.to_dense()

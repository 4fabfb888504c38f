"""Losses: one value for each sample, without a reduction."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.schedules.progressive import Progressive
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.core.tensors.presence import marked, presence

TAKES = {
    "numbers": "predictions and targets [B, ...] of one shape",
    "counts": "logarithms of rates and counts, [B, ...] each",
    "normal": "means and log-variances [B, 2D, ...], and targets [B, D, ...]",
    "normals": "means and log-variances, [B, 2D] each",
    "images": "images [B, C, H, W] and targets of the same shape",
    "binary": "logits and targets in {0, 1}, [B, ...] each",
    "classes": "logits [B, C] and classes [B]",
    "pixels": "logits [B, C, ...] and classes [B, ...]",
    "mixtures": "logits and probabilities, [B, C, ...] each",
    "logits": "logits of a pupil and of a teacher, [B, C] each",
    "chances": "probabilities and targets in {0, 1}, [B, ...] each",
    "class_chances": "probabilities [B, C] and classes [B]",
    "vectors": "vectors and vectors, [B, D] each",
    "directions": "fields of vectors and of vectors, [B, D, ...] each",
    "vector_pairs": "pairs of vectors [B, 2, D], and 1 (alike) or -1 [B]",
    "triplets": "anchor, positive and negative [B, 3, D]; the target is not used",
    "embeddings": "vectors [B, D] and classes [B]",
    "game": "a discriminator's logits of generated and of real samples, [B, ...] each",
    "judged": "a discriminator's logits [B, ...] and the inputs that they were computed from",
}


class Loss(Progressive, ABC):
    """Compares a prediction with a target and gives one value for each sample.

    The mean over samples, masks and ranks is taken in one place, where it is exact:
    :meth:`autoloss.core.table.LossTable.reduced`.

    ``takes`` says which data the loss is for (keys of :data:`TAKES`), and the conformance suite draws such data.
    ``outliers``, ``imbalance`` and ``gradients`` say in one sentence each how the loss treats them.
    A loss is ``paired`` if the value of a sample depends on other samples of its batch. A prediction and a target in
    half precision are ``widened`` to float32 before :meth:`forward`: sums over pixels overflow float16, and bfloat16
    keeps 8 bits of them.
    The gradient does not change with ``unlearnable`` numbers, or only where the loss bends: they cannot be learned.
    It ``squares`` if its values are squares of residuals (or their means), as a kernel's weights take them.
    Where ``ignore_index`` is not ``None``, a sample with no other class label is absent.
    """

    takes: tuple[str, ...] = ("numbers",)
    outliers: ClassVar[str] = ""
    imbalance: ClassVar[str] = ""
    gradients: ClassVar[str] = ""
    absent: ClassVar[int] = 0
    unlearnable: ClassVar[tuple[str, ...]] = ()
    paired: bool = False
    squares: ClassVar[bool] = False
    widened: ClassVar[bool] = True
    ignore_index: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.notices = DeferredChecks()

    def __call__(self, *given: Any, **named: Any) -> Any:
        """:meth:`forward` of data that were checked, with samples marked that have no label but the one to ignore."""
        # Not by hooks of nn.Module, which cost more than some losses.
        given = _checked(self, given)
        values = super().__call__(*given, **named)
        return values if self.ignore_index is None else _marked(self.ignore_index, given, values)

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, [B]; ``prediction`` and ``target`` have B as their first dimension.

        Where samples may have no label, the result carries ``present`` [B] (bool): ``ignore_index`` and
        ``per_sample(values, keep)`` add it, and an :class:`Entry` reads it.
        """

    def masked(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """The loss of each sample, [B]; samples where ``mask`` [B] is false are ignored.

        Their values in the result mean nothing. Their data are replaced before the loss: a prediction that overflows
        there would otherwise put NaN into the gradients of all samples.
        """
        return self(cleaned(prediction, mask), cleaned(target, mask, self.absent))

    @classmethod
    def card(cls) -> dict[str, Any]:
        said = {"outliers": cls.outliers, "imbalance": cls.imbalance, "gradients": cls.gradients}
        return {**super().card(), "takes": [TAKES.get(kind, kind) for kind in cls.takes], **said}


class FunctionLoss(Loss):
    """A user's plain function ``(prediction, target) -> [B]`` as a loss."""

    widened = False
    squares = True  # for all that is known

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        try:
            inspect.signature(function).bind(None, None)
        except TypeError as error:
            raise ConfigError(
                f"A loss function must take (prediction, target), but {function!r} does not: {error}."
            ) from error
        self.function = function

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)


def _checked(loss: Loss, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """``given``, with half precision widened; :class:`ConfigError` for data that no loss can take.

    Torch would raise later, and not name the cause.
    """
    first = given[0] if given else None
    if not isinstance(first, Tensor):
        return given
    whole = first.dim() > 0 and (first.numel() > 0 or len(first) == 0)
    others = [second for second in given[1:] if isinstance(second, Tensor)]
    if first.is_floating_point() and whole and not [x for x in others if not x.dim() or x.is_complex()]:
        # Before any message is written: this runs for each loss in each step.
        return tuple(map(_widened, given)) if loss.widened and any(map(_is_half, given)) else given
    require(first.is_floating_point(), "A prediction must hold real numbers in floating point", _found(first))
    require(whole, "A prediction must be [B, ...] with numbers for each sample", _found(first))
    for second in others:
        real = not second.is_complex() and second.dim() > 0
        require(real, "A target must be [B, ...] real numbers", _found(second))
    return given


def _is_half(given: Any) -> bool:
    return isinstance(given, Tensor) and given.dtype in (torch.float16, torch.bfloat16)


def _widened(given: Any) -> Any:
    return given.float() if _is_half(given) else given


def _marked(ignored: int, given: tuple[Any, ...], values: Any) -> Any:
    """The loss's ``values``, with those samples marked that have no label but the one ``ignored``."""
    if len(given) < 2 or not all(isinstance(x, Tensor) for x in (*given, values)):
        return values
    prediction, target = given[:2]
    if target.dim() != prediction.dim() - 1 or values.shape != target.shape[:1] or presence(values) is not None:
        return values
    return marked(values, (target != ignored).reshape(len(target), -1).any(1))


def _found(data: Tensor) -> str:
    return f"it is {list(data.shape)} in {data.dtype}"


def cleaned(target: Tensor, mask: Tensor | None, by: int = 0) -> Tensor:
    """``target`` [B, ...] with ``by`` where ``mask`` [B] is false.

    Call it before the loss: with a `where` after the loss, NaN would still pass through the gradient.
    """
    if mask is None:
        return target
    if mask.dtype != torch.bool or mask.shape != target.shape[:1]:
        found = f"{_found(mask)} for a target {list(target.shape)}"
        raise ConfigError(f"A mask must be bool, with one entry for each sample, but {found}.")
    keep = mask.view(-1, *[1] * (target.dim() - 1))
    return torch.where(keep, target, torch.full((), by, dtype=target.dtype, device=target.device))


def per_sample(values: Tensor, keep: Tensor | None = None) -> Tensor:
    """The mean of ``values`` [B, ...] over all dimensions but the first, [B]; of those to ``keep`` [B, ...], if given.

    A sample of which none is kept is marked as absent (the result's ``present`` [B]), and is 0.

    >>> import torch
    >>> per_sample(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
    tensor([2., 2.])
    """
    if keep is None:
        return values.flatten(1).mean(1) if values.dim() > 1 else values
    if values.dim() == 1:
        return marked(values, keep)
    kept, number = torch.where(keep, values, 0.0), keep.flatten(1).sum(1)
    return marked(kept.flatten(1).sum(1) / number.clamp(min=1), number > 0)

"""Copies of shared features, one for each loss, whose gradients meet in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from autoloss.core.errors import SignalError, unknown
from autoloss.core.tensors.pairs import flat, real, shaped, size_of
from autoloss.core.tensors.precision import exact
from autoloss.probe.graph_walk import leaves_of, outputs_reached

Combine = Callable[[Sequence[Tensor | None], Tensor], Tensor | None]


@dataclass(frozen=True, slots=True)
class Place:
    """The place where the gradients of a fork meet: the features, or ``parameters``.

    ``shape``, ``dtype`` and ``device`` are those of one loss's gradient as real numbers (pairs for complex features);
    ``items`` is the number of samples in it (1 for parameters).
    """

    shape: torch.Size
    items: int
    dtype: torch.dtype
    device: torch.device
    parameters: bool


class CopiesByLoss(Mapping[str, Tensor]):
    """A copy of features for each loss, by name; a name that is no loss's is an error that names the losses."""

    _copies: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._copies:
            raise unknown("loss", name, self._copies)
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._copies)

    def __len__(self) -> int:
        return len(self._copies)

    def __contains__(self, name: object) -> bool:
        return name in self._copies


class Fork(CopiesByLoss):
    """Gives each loss in ``names`` its own copy of ``features``; the copies share the features' memory.

    Each loss must be computed from its own copy, ``fork["depth"]``. One backward of the balancer's total
    then brings the gradients of all losses to one place, where they are combined to the one gradient that
    the features get. The backward runs through the K heads once; a probe runs through them twice. The
    ``token`` is a zero that is added to the total: its gradient is the factor that the total was scaled by.

    With ``parameters`` each loss's gradient runs alone through the trunk that computed the features, and the
    gradients meet at the trunk's parameters: K passes through the trunk instead of K + 1.

    **Heads are unweighted**: everything that a loss uses besides its copy gets the gradient of that loss
    with its base weight alone.

    >>> features = torch.ones(2, requires_grad=True)
    >>> fork = Fork(features, ["a", "b"])
    >>> fork.meets(lambda gradients, scale: gradients[0] - gradients[1])
    >>> ((3 * fork["a"]).sum() + fork["b"].sum() + fork.token).backward()
    >>> features.grad
    tensor([2., 2.])
    """

    def __init__(self, features: Tensor, names: Sequence[str], parameters: bool = False) -> None:
        self.features = features
        self._leaves = leaves_of(features) if parameters and torch.is_grad_enabled() else ()
        self._meeting = _Meeting(features if self._leaves else None, self._leaves)
        *copies, self.token = _Split.apply(features, len(names), self._meeting, *self._leaves)
        self._copies = dict(zip(names, copies, strict=True))

    @property
    def place(self) -> Place:
        """Where the gradients meet."""
        if not self._leaves:
            features = real(self.features.detach())
            items = features.shape[0] if features.dim() else 1
            return Place(features.shape, items, features.dtype, features.device, False)
        return Place(torch.Size([sum(self.sizes)]), 1, torch.float32, self.features.device, True)

    @property
    def sizes(self) -> list[int]:
        """The number of coordinates of each of the parameters where the gradients meet; empty at features."""
        return [size_of(leaf) for leaf in self._leaves]

    def meets(self, combine: Combine) -> None:
        """Set the function that combines the gradients.

        ``combine`` is called once, in the backward, without a graph: with the gradient at each copy
        (``None`` where a loss gave none) and the gradient of the total. It must not keep a tensor that has a graph.
        Raises :class:`SignalError` if the fork has such a function already.
        """
        self.expect_graph()
        if self._meeting.combine is not None:
            raise SignalError("A fork must be given to one balancer call, but it was given to two. Make one for each.")
        self._meeting.combine = combine

    def expect_graph(self) -> None:
        """Raise :class:`SignalError` unless the features carry gradients."""
        if not self.token.requires_grad:
            raise SignalError(
                f"A fork's features must carry gradients, but those of shape {list(self.features.shape)} do not. "
                "Pass the features that the losses are computed from, not detached and not under no_grad."
            )

    def carries(self, name: str, loss: Tensor, others: Sequence[str] = (), past: bool = False) -> bool:
        """Whether ``loss`` was computed from the copy ``name``, found by a walk of its graph.

        It may use the copies of ``others`` (its group) as well, and with ``past`` the features themselves. Everything
        else raises :class:`SignalError`: a copy that was forgotten or swapped, a head whose output another head uses.
        """
        touched, passed = self._outputs_reached(loss)
        own = {name, *others}
        strange = [f"the copy of {other!r}" for other in self if other in touched - own]
        strange += ["the features themselves"] if passed and not past else []
        if strange:
            raise SignalError(
                f"Each loss must be computed from its own copy, but {name!r} is computed from "
                f"{' and '.join(strange)}. Write fork[{name!r}]; where one head feeds another, pass anchor=features."
            )
        return bool(touched & own)

    def _outputs_reached(self, loss: Tensor) -> tuple[set[str], bool]:
        node, names = self.token.grad_fn, list(self)
        assert node is not None
        outputs, passed = outputs_reached(loss, node)
        if len(outputs) + passed > 1:
            # Heads may share a node of the graph and nothing else: their gradients tell.
            *at_copies, at_features = self._gradients(loss)
            outputs = {i for i in outputs if at_copies[i]}
            passed = passed and at_features
        return {names[i] for i in outputs}, passed

    def _gradients(self, loss: Tensor) -> list[bool]:
        """Whether the gradient of ``loss`` is not 0 at each copy, and (past them) at the features."""
        self._meeting.asked = True
        try:
            with torch.autocast(loss.device.type, enabled=False):
                at = [*self._copies.values(), self.features]
                found = torch.autograd.grad(loss, at, retain_graph=True, allow_unused=True)
        finally:
            self._meeting.asked = False
        return [gradient is not None and bool(gradient.any()) for gradient in found]


class _Meeting:
    """What the backward of a fork does. The graph's node refers to this and not to the fork, which would be a cycle."""

    def __init__(self, features: Tensor | None, leaves: tuple[Tensor, ...]) -> None:
        self.combine: Combine | None = None
        self.asked = self.over = False
        self._features, self.leaves = features, leaves

    def __call__(self, gradients: Sequence[Tensor | None], scale: Tensor | None) -> Tensor | None:
        if self.asked:
            return None
        must = "The gradients at a fork must come from one backward of a balancer's total"
        if self.over:
            raise SignalError(f"{must}, but there was one before. Make a fork for each batch.")
        if self.combine is None:
            raise SignalError(
                f"{must}, but no balancer was given this fork. Write total = balancer(losses, anchor=fork)."
            )
        if scale is None:
            raise SignalError(f"{must}, but a loss was differentiated on its own. Call total.backward() instead.")
        combine, self.combine, self.over = self.combine, None, True
        if self.leaves:
            # A backward inside autocast would cast what is compared here.
            with torch.autocast(scale.device.type, enabled=False):
                gradients = [None if gradient is None else self._at_leaves(gradient) for gradient in gradients]
        like = next((gradient for gradient in gradients if gradient is not None), None)
        with exact(scale.device.type):
            if like is None or not like.is_complex():
                return combine(gradients, scale)
            combined = combine([None if gradient is None else real(gradient) for gradient in gradients], scale)
        return None if combined is None else shaped(combined, like)

    def _at_leaves(self, gradient: Tensor) -> Tensor:
        """The gradient [P] at the leaves of a loss that has ``gradient`` at the features."""
        assert self._features is not None
        # The graph is kept: the outer backward runs through it too, without a gradient.
        found = torch.autograd.grad(self._features, self.leaves, gradient, retain_graph=True, allow_unused=True)
        whole = [torch.zeros_like(of) if g is None else g for g, of in zip(found, self.leaves, strict=True)]
        return torch.cat([flat(part).float() for part in whole])

    def split(self, combined: Tensor | None) -> tuple[Tensor | None, ...]:
        """``combined`` [P], split into the gradient of each leaf."""
        if combined is None or not self.leaves:
            return (None,) * len(self.leaves)
        parts = zip(combined.split([size_of(leaf) for leaf in self.leaves]), self.leaves, strict=True)
        return tuple(shaped(part, leaf) for part, leaf in parts)


class _Split(torch.autograd.Function):
    """Returns K views of the input, and a zero."""

    @staticmethod
    def forward(features: Tensor, size: int, meeting: _Meeting, *leaves: Tensor) -> tuple[Tensor, ...]:
        # Float32 for features of any type: bfloat16 keeps 8 bits of 1 / 3, the scale of 3 micro-batches.
        zero = torch.zeros((), dtype=torch.float32, device=features.device)
        return (*(features.view_as(features) for _ in range(size)), zero)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        _, ctx.size, ctx.meeting, *_ = inputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        *at_copies, scale = gradients
        combined = ctx.meeting(at_copies, scale)
        return None if ctx.meeting.leaves else combined, None, None, *ctx.meeting.split(combined)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        zero = torch.zeros((), dtype=torch.float32, device=tangent.device)
        return (*(tangent.view_as(tangent) for _ in range(ctx.size)), zero)

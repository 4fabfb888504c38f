"""Copies of shared features, one for each loss, whose gradients meet in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from autoloss.core.errors import SignalError, unknown
from autoloss.probe.graph_walk import leaves_of, outputs_reached

Combine = Callable[[Sequence[Tensor | None], Tensor], Tensor | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where gradients meet: ``shape`` and ``dtype`` of one, the ``items`` (samples) in it, if at ``parameters``."""

    shape: torch.Size
    items: int
    dtype: torch.dtype
    device: torch.device
    parameters: bool


class Fork(Mapping[str, Tensor]):
    """``features`` once for each loss in ``names``: the same numbers and the same memory.

    Each loss is computed from its own copy, ``fork["depth"]``. One backward of the balancer's total
    then brings the gradients of all losses to one place, where they are combined to the one that
    the features get: K heads are walked once, and not twice as by a probe. The ``token``, a zero
    that joins the total, tells by which factor the total was scaled.

    With ``parameters`` each gradient goes on alone, through what the features were computed from,
    and all of them meet at the parameters there: K passes through the trunk, and not K + 1.

    **Heads are unweighted**: whatever a loss takes from elsewhere than its copy gets the gradient
    of that loss with its base weight alone.

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

    @property
    def place(self) -> Place:
        """Where the gradients meet."""
        if not self._leaves:
            features = self.features
            items = features.shape[0] if features.dim() else 1
            return Place(features.shape, items, features.dtype, features.device, False)
        size = sum(leaf.numel() for leaf in self._leaves)
        return Place(torch.Size([size]), 1, torch.float32, self.features.device, True)

    def meets(self, combine: Combine) -> None:
        """Say what becomes of the gradients.

        ``combine`` is called once, in backward, without a graph: with the gradient at each copy
        (``None`` where nothing came) and the total's own. It must hold on to nothing that has a graph.
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
        """Whether ``loss`` was computed from the copy ``name``; its graph is walked.

        It may use the copies of ``others`` (its group) as well, and the features themselves if it
        may go ``past`` the fork. Any other way is an error: a forgotten or swapped copy, a head
        that feeds another.
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
            # Heads that share a node of the graph need not share anything else: ask their gradients.
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
    """What the backward of a fork has to do. The node in the graph holds it, and must not hold the fork: a cycle."""

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
        # A backward inside autocast would cast what is compared here.
        with torch.autocast(scale.device.type, enabled=False):
            if self.leaves:
                gradients = [None if gradient is None else self._onwards(gradient) for gradient in gradients]
            return combine(gradients, scale)

    def _onwards(self, gradient: Tensor) -> Tensor:
        """The gradient at the leaves, [P], of what has ``gradient`` at the features."""
        assert self._features is not None
        # The graph is kept: the backward around this one goes the same way, with nothing to carry.
        found = torch.autograd.grad(self._features, self.leaves, gradient, retain_graph=True, allow_unused=True)
        whole = [torch.zeros_like(of) if g is None else g for g, of in zip(found, self.leaves, strict=True)]
        return torch.cat([part.reshape(-1).float() for part in whole])

    def apart(self, combined: Tensor | None) -> tuple[Tensor | None, ...]:
        """``combined`` [P] as the gradient of each leaf."""
        if combined is None or not self.leaves:
            return (None,) * len(self.leaves)
        parts = zip(combined.split([leaf.numel() for leaf in self.leaves]), self.leaves, strict=True)
        return tuple(part.reshape(leaf.shape).to(leaf.dtype) for part, leaf in parts)


class _Split(torch.autograd.Function):
    """K times the input, and a zero."""

    @staticmethod
    def forward(features: Tensor, size: int, meeting: _Meeting, *leaves: Tensor) -> tuple[Tensor, ...]:
        # Float32 whatever the features are: 1 / 3, an accumulation's scale, has 8 bits in bfloat16.
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
        return None if ctx.meeting.leaves else combined, None, None, *ctx.meeting.apart(combined)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        zero = torch.zeros((), dtype=torch.float32, device=tangent.device)
        return (*(tangent.view_as(tangent) for _ in range(ctx.size)), zero)

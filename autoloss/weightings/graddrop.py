"""Gradient sign dropout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.surgery import Surgery
from autoloss.core.tensors.draws import shared_generator


class Graddrop(Surgery):
    """Gives each coordinate of the features' gradient one sign, and drops the losses of the other sign there.

    With ``P = (1 + sum_k g_k / sum_k |g_k|) / 2`` and one ``U`` from [0, 1) for each coordinate, shared
    by all losses, the positive g_k are kept where ``P > U`` and the negative ones elsewhere:
    ``d = sum_k (leak_k + (1 - leak_k) M_k) g_k`` (algorithm 1, f the identity). Where signs agree
    d is the sum, and its expectation is the sum everywhere. It works where gradients meet, in a
    fork, so heads get the gradient of their loss with its base weight.

    Args:
        leak: the part of each loss's gradient that is never dropped, in [0, 1]: one number, or by
            loss name (0 for the others); 1 for all is the plain sum.
        seed: of U, which depends on the seed, the step and the coordinate alone.

    P is that of the gradients themselves; the paper may multiply them by the sign of the activation
    and sum over the batch first. TorchJD drops in the gradients of parameters. Where no loss has a
    gradient, 0 / 0 in the formula, d is 0. Ranks, and the micro-batches of a step, draw the same U
    for their own samples: each is right in expectation, but together they differ from the draw of one
    large batch.
    """

    leak: Tensor
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"leak": Interval(0.0, 1.0)}
    use = "Many losses of similar scale whose gradients at the features often oppose each other in sign."
    avoid = "Batches are small (it adds noise), or one head feeds another (a fork needs separate heads)."
    citation = "Chen et al.: Just pick a sign, NeurIPS 2020, arXiv:2010.06808"

    def __init__(self, leak: float | Mapping[str, float] = 0.0, seed: int = 0) -> None:
        super().__init__()
        for name, part in leak.items() if isinstance(leak, Mapping) else [("", leak)]:
            key = f"leak.{name}" if name else "leak"
            require(0 <= part <= 1, f"`{key}` must lie in [0, 1]", f"{key}={part}")
        self.given, self.seed = leak, seed

    def allocate(self, size: int) -> None:
        given = self.given if isinstance(self.given, Mapping) else dict.fromkeys(self.names, self.given)
        self.register_buffer("leak", self.per_loss(given, missing=0.0), persistent=False)

    def combine(self, gradients: Tensor, signals: Signals) -> Tensor:
        # A generator on the device: for large features, drawing on the host would take longer than the step.
        source = torch.Generator(gradients.device)
        source.manual_seed(shared_generator(self.seed, signals.step).initial_seed())
        drawn = torch.rand(gradients.shape[1:], generator=source, device=gradients.device, dtype=gradients.dtype)
        # P is the positive part over the whole; multiplied out, since both may be 0.
        up, down = gradients.clamp(min=0), gradients.clamp(max=0)
        rise, fall = up.sum(0), down.sum(0)
        whole = rise - fall
        positive = drawn * whole < rise
        if self.given:
            leak = self.leak.to(gradients.dtype).view(-1, *[1] * (gradients.dim() - 1))
            kept = torch.where(positive, ((1 - leak) * up).sum(0), ((1 - leak) * down).sum(0))
            kept = kept + (leak * gradients).sum(0)
        else:
            kept = torch.where(positive, rise, fall)
        # A gradient that overflowed may have been dropped, but a loss scaler must still see it.
        return kept + 0 * whole

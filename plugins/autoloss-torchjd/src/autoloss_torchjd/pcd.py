"""PCD, by TorchJD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchjd.aggregation import PCDWeighting

from autoloss import Interval, Signals, unknown
from autoloss_torchjd.gramian import Gramian


class Pcd(Gramian):
    """Follows the primary loss's gradient as far as every other loss still makes a share of its own progress.

    The averages of the squared norms are state of this weighting. TorchJD counts their steps for all losses
    at once: a loss that comes in late is taken to have had its first norm from the start. While the primary
    loss is absent, weights are equal.

    Args:
        primary: name of the primary loss; the first if ``None``.
        tau: share of normalised progress guaranteed to each other loss, in [0, 1]; or by loss name, 0 if left out.
        beta: decay of the averages, in [0, 1).
        eps: added to the averages, at least 0.
    """

    squares: Tensor
    steps: Tensor
    precision = torch.float32
    # The averages remember the scale.
    rescaled = False
    search_space = {"tau": Interval(0.0, 0.5)}
    use = "One loss is the goal and the others are constraints."
    avoid = "Every loss matters alike (upgrad)."
    citation = "Not all objectives are born equal: Priority-constrained descent, TMLR 2026, arXiv:2606.29521"

    def __init__(
        self,
        primary: str | None = None,
        tau: float | Mapping[str, float] = 0.02,
        beta: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        self.primary, self.tau = primary, tau
        numbers = list(tau.values()) if isinstance(tau, Mapping) else [tau]
        self.torchjd = self.made(lambda: PCDWeighting(torch.tensor([float(n) for n in numbers]), beta, eps))

    def allocate(self, size: int) -> None:
        if self.primary is not None and self.primary not in self.names:
            raise unknown("loss", self.primary, self.names)
        self.first = 0 if self.primary is None else self.names.index(self.primary)
        given = self.tau if isinstance(self.tau, Mapping) else dict.fromkeys(self.names, self.tau)
        self.taus = self.per_loss(given, missing=0.0)
        self.add_state("squares", torch.zeros(size), axes=1)
        self.add_state("steps", torch.zeros((), dtype=torch.int64))

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        return self._with_state(gram, here)[0]

    def update(self, signals: Signals) -> None:
        gram, here = self.present(signals)
        if self.first in here.tolist() and gram.isfinite().all():
            squares = self.squares.cpu()
            squares[here] = self._with_state(gram, here)[1].float()
            self.squares.copy_(squares)
            self.steps += 1

    def _with_state(self, gram: Tensor, here: Tensor) -> tuple[Tensor, Tensor]:
        """The weights, and the averages [k] afterwards."""
        # TorchJD's primary loss is the first row.
        order = (here != self.first).to(torch.int8).argsort(stable=True)
        if here[order[0]] != self.first:
            return gram.new_ones(len(here)), self.squares.cpu()[here]
        squares, steps = self.squares.cpu()[here].double(), int(self.steps)
        late = gram.diagonal().double() * (1 - self.torchjd.beta**steps)
        # TorchJD writes its state when it is called; here it is put in before and taken out after.
        self.torchjd.tau = self.taus[here][order[1:]]
        self.torchjd._sq_norm_ema = torch.where(squares > 0, squares, late)[order]
        self.torchjd._n_steps = torch.tensor(steps)
        self.torchjd._state_key = len(here)
        weights = self.torchjd(gram[order][:, order])
        after = self.torchjd._sq_norm_ema
        self.torchjd.reset()
        back = order.argsort()
        return weights[back], after[back]

"""The public entry for people who own their loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import require, unknown
from autoloss.core.need import GRADIENTS
from autoloss.core.state import StateModule
from autoloss.core.table import Anchor, Entry, LossTable
from autoloss.core.weighting import Weighting
from autoloss.training.build import build_weighting
from autoloss.training.player import Player


class Balancer(StateModule):
    """Turns several losses into one total, with weights that it learns.

    ``total = sum_k base_k * w_k * L_k`` with ``w`` from ``weighting``: a registered name, a mapping
    ``{"name": "gradnorm", "alpha": 1.0}``, or a :class:`Weighting`.

    Args:
        losses: their names, in the order of every [K] tensor.
        weighting: what gives the weights.
        base: factors by loss (or group) name that multiply whatever the weighting says.
        groups: losses whose base-weighted sum is balanced as one, by group name.
        unbalanced: losses that keep their base weight and are not shown to the weighting.
        total_steps: optimiser steps of the whole training; gives ``progress`` to schedules.
        accumulate: how many calls make one optimiser step.
        on_nonfinite: ``"raise"``, or ``"skip"`` to leave a batch out and count it.
        log_dir: where to write ``trajectory.csv`` and TensorBoard events; nowhere by default.
        record_every: how many steps lie between two records.

    >>> balancer = Balancer(["depth", "kl"], weighting="equal", base={"kl": 0.1})
    >>> balancer({"depth": torch.tensor(1.0), "kl": torch.tensor(2.0)})
    tensor(1.2000)
    """

    def __init__(
        self,
        losses: Sequence[str],
        weighting: str | Mapping[str, Any] | Weighting = "uncertainty",
        *,
        base: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        total_steps: int | None = None,
        accumulate: int = 1,
        on_nonfinite: str = "raise",
        log_dir: str | Path | None = None,
        record_every: int = 10,
    ) -> None:
        super().__init__()
        require(accumulate >= 1, "`accumulate` must be at least 1", f"accumulate={accumulate}")
        require(
            total_steps is None or total_steps >= 1, "`total_steps` must be at least 1", f"total_steps={total_steps}"
        )
        self.player = Player(losses, build_weighting(weighting), base, groups, unbalanced, on_nonfinite)
        self.total_steps, self.accumulate = total_steps, accumulate
        self.calls, self.epoch = 0, 0
        self._frozen = False
        self._log_dir = None if log_dir is None else Path(log_dir)
        self._every = record_every
        self._recorder: Any = None

    @property
    def clock(self) -> Clock:
        """Where training stands: the optimiser steps so far, the epoch, and progress."""
        step = self.calls // self.accumulate
        return Clock(step, self.epoch, min(1.0, step / self.total_steps) if self.total_steps else 0.0)

    @property
    def weights(self) -> dict[str, float]:
        """The effective weights of the last step by loss name; reading them waits for the device."""
        return dict(zip(self.player.terms.names, self.player.last.tolist(), strict=True))

    @property
    def skipped(self) -> int:
        """How many batches were left out because a loss was not finite."""
        return self.player.watch.skipped

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins; for weightings that compare epochs."""
        self.epoch = epoch

    def forward(
        self,
        losses: Mapping[str, Entry | Tensor | None] | LossTable,
        anchor: Anchor | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """The total to call ``backward`` on.

        ``losses`` are scalars, or one value for each sample, by name; ``None`` or missing means
        absent. ``anchor`` is where gradients are compared, if the weighting needs any. ``scale``
        is the factor of a gradient scaler (``scaler.scale(torch.ones(()))``), for float16.
        """
        table = losses if isinstance(losses, LossTable) else LossTable(losses, anchor)
        for name in table.entries:
            if name not in self.player.terms.names:
                raise unknown("loss", name, self.player.terms.names)
        self._follow(table)
        if self._frozen or not self.training or not torch.is_grad_enabled():
            return self.player.frozen(table)
        clock = self.clock
        weighed = self.player.step(table, clock, scale, self.accumulate > 1)
        self.calls += 1
        if self.calls % self.accumulate == 0:
            self.player.commit()
        if weighed is None:
            return self.player.last.new_zeros((), requires_grad=True)
        if self._log_dir is not None:
            self._record(clock, weighed)
        return weighed.total

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within it the last weights are used again and nothing is learned (L-BFGS closures, line searches)."""
        before, self._frozen = self._frozen, True
        try:
            yield
        finally:
            self._frozen = before

    def close(self) -> None:
        """Write what is left to record, and raise if a loss was not finite."""
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        self.player.watch.check()

    def get_extra_state(self) -> dict[str, int]:
        """Counters for ``state_dict``."""
        return {"calls": self.calls, "epoch": self.epoch}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Counters from ``state_dict``."""
        self.calls, self.epoch = state["calls"], state["epoch"]

    def _follow(self, table: LossTable) -> None:
        entry = next((e for name in table.entries if (e := table.entry(name)) is not None), None)
        if entry is not None and entry.values.device != self.player.last.device:
            self.to(entry.values.device)

    def _record(self, clock: Clock, weighed: Any) -> None:
        from autoloss.training.recorder import BLOCK, Recorder

        if self._recorder is None:
            terms, gradients = self.player.terms, bool(self.player.weighting.needs & GRADIENTS)
            self._recorder = Recorder(self._log_dir, terms.names, terms.units, gradients, self._every, clock.step)  # type: ignore[arg-type]
        self._recorder.record(weighed)
        if clock.step % (BLOCK * self._every) == 0:
            self.player.watch.check()

"""The same losses again, after the step: same batch, same random numbers, nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Moment:
    """The random generators as they stood before a forward."""

    host: Tensor
    device: Tensor | None
    where: torch.device

    @classmethod
    def now(cls, device: torch.device) -> Moment:
        """The generators of the host and of ``device``, as they stand."""
        on_cuda = device.type == "cuda"
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if on_cuda else None, device)

    def restore(self) -> None:
        """Set the generators back."""
        torch.set_rng_state(self.host)
        if self.device is not None:
            torch.cuda.set_rng_state(self.device, self.where)


@contextmanager
def replayed(network: nn.Module, moment: Moment) -> Iterator[None]:
    """Within it a forward of ``network`` draws what it drew at ``moment``; afterwards nothing has happened.

    No graph is built; buffers (running statistics) and random generators are as before.
    """
    current = Moment.now(moment.where)
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    moment.restore()
    try:
        with torch.no_grad():
            yield
    finally:
        current.restore()
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)

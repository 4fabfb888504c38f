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

    @classmethod
    def seeded(cls, device: torch.device, seed: int) -> Moment:
        """The generators as ``seed`` would set them."""
        on_cuda = device.type == "cuda"
        host = torch.Generator().manual_seed(seed).get_state()
        return cls(host, torch.Generator(device).manual_seed(seed).get_state() if on_cuda else None, device)

    def restore(self) -> None:
        """Set the generators back."""
        torch.set_rng_state(self.host)
        if self.device is not None:
            torch.cuda.set_rng_state(self.device, self.where)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within it ``network`` is in evaluation mode; afterwards each of its modules is in the mode that it had."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def replayed(network: nn.Module, moment: Moment, graph: bool = False) -> Iterator[None]:
    """Within it a forward of ``network`` draws what it drew at ``moment``; afterwards nothing has happened.

    No graph is built unless asked for; buffers (running statistics) and random generators are as before.
    """
    current = Moment.now(moment.where)
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in network.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    moment.restore()
    try:
        with torch.set_grad_enabled(graph):
            yield
    finally:
        current.restore()
        with torch.no_grad():
            for part, name, buffer, before in buffers:
                buffer.copy_(before)
                part._buffers[name] = buffer

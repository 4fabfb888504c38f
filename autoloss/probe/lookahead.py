"""Runs a forward again after the step with the same random numbers, without an effect on the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Moment:
    """The states of the random generators before a forward."""

    host: Tensor
    device: Tensor | None
    where: torch.device

    @classmethod
    def now(cls, device: torch.device) -> Moment:
        """The present states of the generators of the host and of ``device``."""
        on_cuda = device.type == "cuda"
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if on_cuda else None, device)

    @classmethod
    def seeded(cls, device: torch.device, seed: int) -> Moment:
        """The states that ``seed`` sets."""
        on_cuda = device.type == "cuda"
        host = torch.Generator().manual_seed(seed).get_state()
        return cls(host, torch.Generator(device).manual_seed(seed).get_state() if on_cuda else None, device)

    def restore(self) -> None:
        """Set the generators to these states."""
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
def drawing(moment: Moment) -> Iterator[None]:
    """Within it the random numbers are those that were drawn from ``moment`` on; then the generators are put back."""
    current = Moment.now(moment.where)
    moment.restore()
    try:
        yield
    finally:
        current.restore()


@contextmanager
def replayed(network: nn.Module, moment: Moment, graph: bool = False) -> Iterator[None]:
    """Within it a forward of ``network`` draws the same random numbers as at ``moment``.

    A ``graph`` is built only if asked for. On leaving, buffers (running statistics) and random generators are put back.
    """
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in network.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        with drawing(moment), torch.set_grad_enabled(graph):
            yield
    finally:
        with torch.no_grad():
            for part, name, buffer, before in buffers:
                buffer.copy_(before)
                part._buffers[name] = buffer

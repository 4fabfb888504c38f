"""The signals of the gradients of M members at their anchors, in K passes for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autoloss.core.measured.signal import Rows
from autoloss.core.need import Need
from autoloss.core.signals import AT_ANCHOR, SIGNALS
from autoloss.core.tensors.pairs import real, size_of
from autoloss.probe.anchor import check_carries
from autoloss.probe.gradients import signals_of
from autoloss.probe.kernels import probes
from autoloss.training.fleet.stacked import WithRules, mapped

Found = dict[str, Any]
Residuals = tuple[Sequence[Tensor | None], Tensor]  # of each loss [M, B], and how many samples [M, N]


def measure_members(
    losses: Sequence[Tensor | None],
    tensors: Sequence[Tensor],
    of_loss: Sequence[Sequence[int]],
    needs: Need,
    parameters: bool,
) -> tuple[dict[str, dict[str, Tensor]], Found, tuple[bool, ...], Tensor, tuple[int, ...]]:
    """Differentiate each of ``losses`` ([M] each) at ``tensors`` [M, ...] and compare the gradients of each member.

    Returns the tensors of the signals by name, [M, ...] each; a template of each signal, for :func:`like`; which losses
    reach the anchor; the gradients [M, K, P]; and the number of items of each loss.
    """
    for tensor in tensors:
        check_carries(tensor.requires_grad, tensor.shape[1:])
    sizes = [size_of(tensor[0]) for tensor in tensors]
    rows, reached = rows_of_members(losses, tensors, of_loss)
    shared = all(len(of) == len(tensors) for of in of_loss)
    items = tuple(1 if parameters or not of or tensors[of[0]].dim() < 2 else tensors[of[0]].shape[1] for of in of_loss)
    own = None if shared else tuple(map(tuple, of_loss))
    alike: int | tuple[int, ...] = items[0] if shared and len(set(items)) == 1 else items

    templates: Found = {}

    def signals(values: Tensor) -> dict[str, dict[str, Tensor]]:
        found = signals_of(Rows(values, sizes, alike, of_loss=own), needs, over_ranks=False)
        templates.update(found)
        return {one.name: one.tensors(found[one.name]) for one in AT_ANCHOR if one.name in found}

    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False), WithRules():
        measured = mapped(signals, rows)
    return measured, templates, reached, rows, items


def rows_of_members(
    losses: Sequence[Tensor | None], tensors: Sequence[Tensor], of_loss: Sequence[Sequence[int]]
) -> tuple[Tensor, tuple[bool, ...]]:
    """The gradients [M, K, P] of ``losses`` ([M] each) at ``tensors`` [M, ...], and which losses reach these."""
    sizes = [size_of(tensor[0]) for tensor in tensors]
    members, first = tensors[0].shape[0], tensors[0]
    rows = torch.zeros(members, len(losses), sum(sizes), dtype=torch.float32, device=first.device)
    reached = []
    for k, (loss, wanted) in enumerate(zip(losses, of_loss, strict=True)):
        if loss is None or not loss.requires_grad or not wanted:
            reached.append(False)
            continue
        gradients = torch.autograd.grad(loss.sum(), [tensors[i] for i in wanted], retain_graph=True, allow_unused=True)
        parts = rows[:, k].split(sizes, dim=1)
        for i, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                parts[i].copy_(real(gradient).reshape(members, -1))
        reached.append(any(gradient is not None for gradient in gradients))
    return rows, tuple(reached)


def traces_of_members(
    residuals: Residuals, tensors: Sequence[Tensor], of_loss: Sequence[Sequence[int]], step: int
) -> Tensor:
    """The traces [M, N] of the losses' kernels over their samples, as :func:`autoloss.probe.kernels.kernel_traces`."""
    roots, counts = residuals
    with torch.autocast(tensors[0].device.type, enabled=False):
        rows, _ = rows_of_members(probes(roots, step), tensors, of_loss)
    return rows.square().sum(2) / counts.clamp(min=1)


def like(name: str, template: Any, parts: Mapping[str, Tensor]) -> Any:
    """The signal ``name`` with the tensors ``parts`` in the places of those of ``template``."""
    signal = next(one for one in SIGNALS if one.name == name)
    place = iter(parts.values())
    return signal.map(lambda _: next(place), template)

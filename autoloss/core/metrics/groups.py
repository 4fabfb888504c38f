"""Metrics of groups of samples, and of the worst group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

BEFORE = "by group: "  # of the sums of a metric's groups among other sums of a problem
WORST = "worst"


def tallied(
    metrics: Mapping[str, Tensor], group: Tensor, count: int, rows: Mapping[str, Tensor | None] | None = None
) -> dict[str, Tensor]:
    """The sums and numbers [2, count] of each metric's values in each group; for ``Problem.tally``.

    ``group`` [B] holds whole numbers from 0. ``rows`` [B] (bool) are the samples that a metric has values of, all of
    them by default. A metric with another number of values is left out.
    """
    each = (group[:, None] == torch.arange(count, device=group.device)).float()
    found = {}
    for name, values in metrics.items():
        known = (rows or {}).get(name)
        of = each if known is None else each[known]
        if values.shape == of.shape[:1]:
            found[BEFORE + name] = torch.stack([values.float() @ of, of.sum(0)])
    return found


def concluded(sums: Mapping[str, Tensor], goals: Mapping[str, str], groups: Sequence[str]) -> dict[str, float]:
    """The mean ``NAME_GROUP`` of each metric in each group with samples, and ``NAME_worst``; for ``Problem.conclude``.

    The worst is the lowest where the metric's goal is ``"max"``, else the highest.

    >>> sums = tallied({"error": torch.tensor([0.0, 1.0, 1.0])}, torch.tensor([0, 1, 0]), 2)
    >>> concluded(sums, {"error": "min"}, ["young", "old"])
    {'error_young': 0.5, 'error_old': 1.0, 'error_worst': 1.0}
    """
    found: dict[str, float] = {}
    for tag, (total, number) in sums.items():
        if tag.startswith(BEFORE):
            name = tag.removeprefix(BEFORE)
            pairs = zip(groups, total.tolist(), number.tolist(), strict=True)
            means = {f"{name}_{group}": value / of for group, value, of in pairs if of}
            found |= means
            if means:
                found[f"{name}_{WORST}"] = (min if goals.get(name) == "max" else max)(means.values())
    return found

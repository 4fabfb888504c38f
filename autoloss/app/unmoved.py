"""Metrics that training did not move from those of an answer that is the same for every sample."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

LEAST = 0.01  # a metric that is better by a smaller share has not moved


def unmoved(constant: Mapping[str, float], goals: Mapping[str, str], metrics: Path) -> list[str]:
    """The metrics in the file ``metrics`` (a row for each validation) that never got better than ``constant``."""
    from autoloss.report.record import read_columns  # it imports numpy: help must not wait for it

    curves, found = read_columns(metrics), []
    for name, value in constant.items():
        sign = -1 if goals[name] == "max" else 1
        known = [sign * float(one) for one in curves.get(f"val/{name}", ()) if isfinite(one)]
        if known and min(known) >= sign * value - LEAST * abs(value):
            found.append(name)
    return found


def unmoved_sentence(directory: Path) -> str:
    """What to say of the metrics that no finished run in ``directory`` moved, by the summaries there; or nothing."""
    summaries = [_summary(path) for path in sorted(directory.rglob("summary.json"))]
    known = [summary for summary in summaries if summary.get("constant_metrics") and summary["state"] == "finished"]
    if not known:
        return ""
    constant = known[0]["constant_metrics"]
    stuck = [name for name in constant if all(name in summary["unmoved_metrics"] for summary in known)]
    if not stuck:
        return ""
    found = ", ".join(f"{name} ({constant[name]:.4g})" for name in stuck)
    where = "" if len(known) == 1 else f" in any of {len(known)} runs"
    return (
        f"warning: {found} never got better on validation data than the same answer for every row{where}. "
        "Train longer, or ask whether the inputs say anything of it."
    )


def _summary(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found

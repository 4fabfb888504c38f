"""What to do after a run, at the head of its page."""

from __future__ import annotations

import shlex
from typing import Any

from autoloss.core.passwords import without_passwords
from autoloss.report.record import RunRecord

OTHER = "auto"  # what equal weights are compared with first
OWN = ("weighting", "seed", "name", "load", "resume")  # keys of this run alone


def next_step(record: RunRecord) -> list[str]:
    """How to find out whether the weighting helps; nothing for a run that did not finish or knows no metrics."""
    weighting = record.summary.get("weighting")
    if not record.run.finished or not weighting or not record.metrics:
        return []
    equal = weighting == "equal"
    asked = "whether other weights are better" if equal else f"whether `{weighting}` is better than equal weights"
    said = f"One run does not say {asked}"
    command = _comparison(record.summary, OTHER if equal else str(weighting))
    if command is None:
        return [f"{said}: train both on several seeds, and compare their metrics."]
    return [f"{said}; this does: `{without_passwords(command)}`."]


def _comparison(summary: Any, other: str) -> str | None:
    """The command that compares equal weights with ``other`` on this run's problem, if one command can say it."""
    overrides = summary.get("overrides")
    if overrides is None:
        return None
    keys = {override: override.lstrip("+~").partition("=")[0] for override in overrides}
    if any(key.startswith("weighting.") for key in keys.values()):
        return None  # equal weights do not have the parameters of the other
    kept = [override for override, key in keys.items() if key not in OWN]
    return shlex.join(["autoloss", "compare", f"weighting=equal,{other}", *kept, "compare.seeds=5"])

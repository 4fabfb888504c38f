"""What to do after a run, at the head of its page."""

from __future__ import annotations

import shlex
from typing import Any

from autoloss.core.io.override_key import key_of
from autoloss.core.passwords import without_passwords
from autoloss.report.record import RunRecord

OTHER = "auto"  # what equal weights are compared with first
OWN = ("weighting", "seed", "name", "load", "fresh", "ckpt", "test")  # keys of this run alone
GROUPS = ("hydra", "compare", "search", "hydra/launcher", "hydra/sweeper")  # of how it was started


def next_step(record: RunRecord) -> list[str]:
    """How to find out whether the weighting helps.

    Nothing for a run that did not finish, that has one loss, or that is a part of a search or a comparison, which says
    itself what to do.
    """
    summary = record.summary
    weighting, command = summary.get("weighting"), summary.get("command")
    if not record.run.finished or not weighting or not record.metrics:
        return []
    if len(summary.get("final_weights", {})) < 2 or (command and command[1:2] != ["train"]):
        return []
    equal = weighting == "equal"
    asked = "whether other weights are better" if equal else f"whether `{weighting}` is better than equal weights"
    said = f"One run does not say {asked}"
    compared = _comparison(summary, OTHER if equal else str(weighting))
    if compared is None:
        return [f"{said}: train both on several seeds, and compare their metrics."]
    return [f"{said}; this does: `{without_passwords(compared)}`."]


def _comparison(summary: Any, other: str) -> str | None:
    """The command that compares equal weights with ``other`` on this run's problem, if one command can say it."""
    overrides, command = summary.get("overrides"), summary.get("command") or []
    if overrides is None or any(word.startswith("-") and word not in ("-m", "--multirun") for word in command):
        return None
    keys = {override: key_of(override) for override in overrides}
    if any(key.startswith("weighting.") for key in keys.values()):
        return None  # equal weights do not have the parameters of the other
    kept = [one for one, key in keys.items() if key not in OWN and key.partition(".")[0] not in GROUPS]
    return shlex.join(["autoloss", "compare", f"weighting=equal,{other}", *kept, "compare.seeds=5"])

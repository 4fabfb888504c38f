"""The page "which weighting should I use", from the runs on record: written to docs/choosing.md by quality.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from protocols import EQUAL, PROTOCOLS
from quality_table import Runs, summary, verdicts

from autoloss.core.tables import markdown

RESULTS = Path(__file__).with_name("results")
MARKS = {"better": "**{}** better", "worse": "{} worse", "no difference shown": "{}"}
HEAD = """\
# Which weighting should I use?

Written by `python benchmarks/quality.py --show` from the runs in `benchmarks/results/`; the tables there have seeds,
intervals, versions and the published rows. These are small budgets on few problems: they say what to try first, and
`autoloss compare` or `autoloss search` says what holds for yours.
"""
ADVICE = """\
## Where to begin

1. **Train with equal weights first.** Where losses are alike in kind and scale, nothing here is shown to beat them.
2. **Look at the gradients, not at the values**: `grad_norm/<loss>` in TensorBoard (`record.probe_every=100` where the
   weighting measures none). Norms within a factor of ten of each other: stay with equal weights.
3. **Norms that are apart**: try `uncertainty` and `imtl_l`, which cost nothing. What they gain by a growing common
   scale is a learning rate: wrap them in `normalise`, or tune the learning rate of equal weights too.
4. **Physics-informed networks** (losses without a sample in common, gradients apart by orders of magnitude):
   `lr_annealing` with the residual as reference, measured at the parameters at every tenth step, first.
5. **A metric that you care about**: no weighting knows it. `autoloss search` tries weights against it, and confirms
   them.
"""


def cell(row: str, name: str, cells: Mapping[str, Runs]) -> str:
    """What a row gained on a protocol: a ratio of errors, or a score."""
    protocol = PROTOCOLS[name]
    found, compared = verdicts(protocol, cells)
    if row not in cells:
        return ""
    if row not in found:
        return "failed" if any("error" in run for run in cells[row].values()) else "not run"
    gain = fmean(found[row]) - fmean(found[EQUAL])
    shown = f"{math.exp(gain):.3g} x" if protocol.ratio else f"{gain:+.3f}"
    return MARKS[compared[row].words].format(shown) if row in compared else shown


def page(cells: Mapping[str, Mapping[str, Runs]]) -> str:
    """The page as Markdown; ``cells`` are the runs of each protocol by row and seed."""
    tried = {name: of for name, of in cells.items() if any(of.values())}
    alone = {row for name in tried for row in PROTOCOLS[name].single.values()}
    rows = [
        row for row in dict.fromkeys(row for of in tried.values() for row in of) if row not in alone and row != EQUAL
    ]
    links = [f"[{name}](../benchmarks/results/{name}.md)" for name in tried]
    table = [["weighting", *links], *([row, *(cell(row, name, of) for name, of in tried.items())] for row in rows)]
    ratios = ", ".join(name for name in tried if PROTOCOLS[name].ratio)
    lines = [HEAD, ADVICE, "## What was measured", "", "On the test split, against equal weights."]
    lines += [f"How many times smaller the error is ({ratios}); elsewhere the score, the mean relative improvement."]
    lines += ["*better* and *worse*: after Holm's correction over the column; nothing: no difference shown.", ""]
    lines += [markdown(table), ""]
    lines += [f"- **{PROTOCOLS[name].title}.** {summary(PROTOCOLS[name], of)}" for name, of in tried.items()]
    toy = RESULTS / "toy.md"
    lines += ["- **Two losses in the plane.** [toy.md](../benchmarks/results/toy.md)."] if toy.exists() else []
    return "\n".join([*lines, ""])

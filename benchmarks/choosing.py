"""The page "which weighting should I use", from the recorded runs: written to docs/choosing.md by quality.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from protocols import PROTOCOLS
from quality_table import Runs, summary, verdicts
from rows import CORE, EQUAL, SEARCHED

from autoloss.core.io.text_table import markdown
from autoloss.report.verdict import Comparison

RESULTS = Path(__file__).with_name("results")
COMPARED = [row for row in CORE if row != SEARCHED]
BEGIN, END = "<!-- written by benchmarks/quality.py -->", "<!-- until here -->"
MARKS = {"better": "**{}** better", "worse": "{} worse", "no difference shown": "{}"}
HEAD = """\
# Which weighting should I use?

Written by `python benchmarks/quality.py --show` from the runs in `benchmarks/results/`; the tables there have seeds,
intervals, versions and the published rows. These are small budgets on few problems: they say what to try first, and
`autoloss compare` or `autoloss search` says what holds for yours.
"""
ADVICE = """\
## In three sentences

Compare equal weights with `weighting=auto` on your own problem, on three seeds or more:
`autoloss compare weighting=equal,auto compare.seeds=5`; here AUTO.
It gains most where the gradients of the losses differ by orders of magnitude, above all in differential equations
(`autoloss diagnose` and `grad_norm/<loss>` in TensorBoard show it), and where no difference is shown, equal weights are
the simpler answer.
For a metric that you care about let `autoloss search` decide, since no weighting knows it.

## More about it

- **Look at the gradients, not at the values**: `record.probe_every=100` measures them where the weighting does not.
- **Differential equations** (losses that share no samples, gradients that differ by orders of magnitude): `auto` and
  `lr_annealing` (the residual as reference), measured at every tenth step:
  `'weighting.wrap=[{every_n:{n:10}}]'`.
- `auto` is half the balance of gradient norms, and lets the gradients become shorter half as fast. [On made-up
  problems](../benchmarks/results/auto_zoo.md) it was better in the mean of each family, and one in twenty got worse by
  more than 5 %. It is the default of `Balancer`; `autoloss train` has equal weights, so that a run is a baseline.
  A part of the gain is the larger step late in training that comes of it: on `two_digits` equal weights that rise as
  much ("equal, rising") have more than half of it. So tune the learning rate of equal weights too before you conclude.
  `uncertainty` and `imtl_l` cost nothing, and their scale is free: a common factor on all weights acts as a larger
  learning rate. Wrap them in `normalise`, or tune the learning rate of equal weights too.
- Weights that are learned from held-out data (`auto_lambda`, `learned`) end below equal weights where these are a poor
  start; with `weighting.wrap=[from_auto]` they do not ([measured](../benchmarks/results/held_out.md)), and no setting
  of the objective makes up for that.
- **The best weighting depends on the metric**: on `left_right`, by the change of error it is `uncertainty` with a
  tuned rate, by the change of accuracy `cagrad` (the last columns of that table).
"""
ONE_LOSS = (
    "- `noisy_digits` has one loss, so nothing to weigh between losses: weights of its samples are in "
    "[noisy_digits.md](../benchmarks/results/noisy_digits.md), learned numbers of its loss in "
    "[which_loss.md](which_loss.md)."
)


def cell(row: str, name: str, cells: Mapping[str, Runs]) -> str:
    """What a row gained on a protocol: a ratio of errors, or a score."""
    protocol = PROTOCOLS[name]
    found, compared = verdicts(protocol, cells)
    if row not in cells:
        return ""
    if row not in found:
        failed = any("error" in run for run in cells[row].values())
        return (
            "failed"
            if failed
            else f"{len(cells[row])} of {len(protocol.seeds_of(row))} run"
            if cells[row]
            else "not run"
        )
    gain = fmean(found[row]) - fmean(found[EQUAL])
    shown = f"{math.exp(gain):.3g} x" if protocol.ratio else f"{gain:+.3f}"
    return MARKS[compared[row].words].format(shown) if row in compared else shown


def ranks(cells: Mapping[str, Mapping[str, Runs]]) -> list[list[str]]:
    """The mean rank of each method over the problems that ``auto`` was tried on, and its worst problem.

    A rank is that of the mean score, 1 for the best; the weights of a search are not a method, and a method that was
    not tried on all these problems has no rank.
    """
    gains: dict[str, dict[str, float]] = {}
    for name, of in cells.items():
        found, _ = verdicts(PROTOCOLS[name], of)
        for row in found:
            gains.setdefault(row, {})[name] = fmean(found[row]) - fmean(found[EQUAL])
    problems = list(gains.get("auto", {}))
    methods = [row for row in COMPARED if row in gains and set(problems) <= set(gains[row])]
    if not problems:
        return []
    lines = []
    for row in methods:
        of = [1 + sum(gains[other][name] > gains[row][name] for other in methods) for name in problems]
        worst = min(problems, key=lambda name: gains[row][name])
        lines.append((fmean(of), row, worst, gains[row][worst]))
    table = [["weighting", "mean rank", "its worst problem"]]
    for rank, row, worst, gain in sorted(lines):
        by = f"error {math.exp(-gain):.3g} times larger" if PROTOCOLS[worst].ratio else f"score {gain:+.3f}"
        table.append([row, f"{rank:.2f}", f"{worst}: {by}"])
    return [[", ".join(problems)], *table]


def block(cells: Mapping[str, Mapping[str, Runs]]) -> str:
    """The short table of the README: `auto`, each protocol's best weighting, and how many are better or worse."""
    table = [["problem", "`auto` against equal weights", "best weighting", "its gain", "better / worse / tried"]]
    for name, of in cells.items():
        found, compared = verdicts(PROTOCOLS[name], of)
        if not compared:
            continue
        best = max(compared, key=lambda row: fmean(found[row]))
        words = [c.words for c in compared.values()]
        counts = f"{words.count('better')} / {words.count('worse')} / {len(words)}"
        gains = [_gain(name, row, found, compared) for row in ("auto", best)]
        table.append([f"[{name}](benchmarks/results/{name}.md)", gains[0], f"`{best}`", gains[1], counts])
    return f"{BEGIN}\n{markdown(table)}\n{END}"


def _gain(name: str, row: str, found: Mapping[str, list[float]], compared: Mapping[str, Comparison]) -> str:
    """What ``row`` gained over equal weights on a protocol, with the verdict."""
    if row not in compared:
        return ""
    gain = fmean(found[row]) - fmean(found[EQUAL])
    size = f"error {math.exp(gain):.3g} times smaller" if PROTOCOLS[name].ratio else f"score {gain:+.3f}"
    return f"{size}, {compared[row].words}"


def into(readme: str, cells: Mapping[str, Mapping[str, Runs]]) -> str:
    """The text of the README with its table made anew."""
    before, _, rest = readme.partition(BEGIN)
    return before + block(cells) + rest.partition(END)[2]


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
    lines = [HEAD, ADVICE.replace("AUTO", _of_auto(cells)), "## What was measured", ""]
    lines += ["On the test split, against equal weights."]
    lines += [f"How many times smaller the error is ({ratios}); elsewhere the score, the mean relative improvement."]
    lines += ["*better* and *worse*: after Holm's correction over the column; nothing: no difference shown.", ""]
    lines += [markdown(table), ""]
    over, *ranked = ranks(tried) or [[]]
    if ranked:
        lines += [f"Mean ranks over {over[0]}, by mean score; a rank says nothing about how sure a difference is.", ""]
        lines += [markdown(ranked), ""]
    lines += [f"- **{PROTOCOLS[name].title}.** {summary(PROTOCOLS[name], of)}" for name, of in tried.items()]
    lines += [ONE_LOSS]
    toy = RESULTS / "toy.md"
    if toy.exists():
        plane = [line for line in toy.read_text().splitlines() if line.startswith("|")]
        lines += [
            "",
            "Two losses in the plane ([toy.md](../benchmarks/results/toy.md)): starts that end on the front.",
            "",
        ]
        lines += plane
    return "\n".join([*lines, ""])


def _of_auto(cells: Mapping[str, Mapping[str, Runs]]) -> str:
    """How often ``auto`` was better or worse than equal weights."""
    compared = [verdicts(PROTOCOLS[name], of)[1].get("auto") for name, of in cells.items()]
    words = [one.words for one in compared if one is not None]
    worse = words.count("worse") or "none"
    return f"it was better on {words.count('better')} of {len(words)} problems, and worse on {worse}"

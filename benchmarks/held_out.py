"""From which held-out data, and by which objective, should `auto_lambda` and `learned` learn?

`python benchmarks/held_out.py --data DIR` trains both with each `held_out.objective` and `held_out.source`, and equal
weights, on `two_digits` and `left_right` (DIR holds mnist/), and writes benchmarks/results/held_out.md. Runs are kept
in benchmarks/results/quality/ and are not trained again, as by quality.py; --show trains nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean

import quality
from protocols import PROTOCOLS, Protocol
from quality_table import verdicts, whole
from rows import EQUAL

from autoloss.core.io.text_table import markdown, number

METHODS, OBJECTIVES, SOURCES = ("auto_lambda", "learned"), ("log", "sum"), ("train", "share")
ROWS: Mapping[str, tuple[str, ...]] = {
    EQUAL: ("weighting=equal",),
    **{
        f"{method}, {objective}, {source}": (
            f"weighting={method}",
            f"held_out.objective={objective}",
            f"held_out.source={source}",
        )
        for method, objective, source in product(METHODS, OBJECTIVES, SOURCES)
    },
    **{
        f"{method}, from auto": (f"weighting={method}", "weighting.wrap=[from_auto]", "held_out.objective=log")
        for method in METHODS
    },
}
STUDIES = {
    "held_out_two_digits": Protocol(
        "`two_digits`",
        PROTOCOLS["two_digits"].settings,
        ROWS,
        "60 epochs of Adam.",
        seeds=tuple(range(10)),
    ),
    "held_out_left_right": replace(
        PROTOCOLS["left_right"], title="`left_right`", rows=ROWS, seeds=tuple(range(10_000, 10_010)), published={}
    ),
}
HEAD = """# What `auto_lambda` and `learned` should lower on held-out data

Written by `python benchmarks/held_out.py --data DIR`. `log` is the sum of the held-out losses' logarithms, `sum` their
sum. `share`: a tenth of the training data is kept for the weights; `train`: held-out batches are other batches of the
training data. "From auto": with the defaults (`log`, `share`), and factors of the weights of `auto` are learned.
Test metrics of the last step, mean over the seeds that every row has; in parentheses a metric's own relative
improvement. The score is the mean of these improvements, with an interval of 95 % (Student's t, paired by seed); p is
corrected by Holm.
"""


def table(name: str) -> str:
    """The table of one study, from the seeds that all rows have."""
    cells = {row: quality.done(name, row) for row in ROWS}
    here = [seed for seed in STUDIES[name].seeds if all(seed in of for of in cells.values())]
    if len(here) < 2:
        return ""
    protocol = replace(STUDIES[name], seeds=tuple(here), single={})
    found, compared = verdicts(protocol, cells)
    rows = whole(protocol, cells)
    metrics = list(rows[EQUAL][0]["goals"])
    lines = [["weighting, objective, source", *metrics, "score", "95 % interval", "p (Holm)", "verdict"]]
    means = {row: {metric: fmean(run["test"][metric] for run in of) for metric in metrics} for row, of in rows.items()}
    for row in sorted(found, key=lambda row: -fmean(found[row])):
        changes = {metric: 1 - means[row][metric] / means[EQUAL][metric] for metric in metrics}
        line = [row, *(f"{means[row][metric]:.4g} ({change:+.1%})" for metric, change in changes.items())]
        c = compared.get(row)
        line += [f"{fmean(found[row]):+.4f}"]
        line += [f"{c.low:+.4f} to {c.high:+.4f}", number(c.p_corrected, ".3g"), c.words] if c else ["", "", ""]
        lines.append(line)
    return f"## {protocol.title}\n\n{protocol.notes.split(' `auto')[0]} {len(here)} seeds.\n\n{markdown(lines)}\n"


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="holds mnist/, for left_right")
    parser.add_argument("--seeds", type=int, default=10, help="how many of each study")
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--rows", nargs="+", default=[], choices=list(ROWS), help="only these rows")
    parser.add_argument("--show", action="store_true", help="train nothing")
    options = parser.parse_args()
    for name, study in STUDIES.items():
        PROTOCOLS[name] = study
    for name in options.studies if not options.show else ():
        study = STUDIES[name]
        directory = (options.data / study.data).resolve() if options.data and study.data else None
        if study.data and directory is None:
            parser.error(f"{name} needs --data, a directory that holds {study.data}/")
        PROTOCOLS[name] = replace(study, seeds=study.seeds[: options.seeds])
        quality.work(name, PROTOCOLS[name], options.rows, directory)
    tables = [one for name in STUDIES if (one := table(name))]
    (quality.RESULTS / "held_out.md").write_text("\n".join([HEAD, *tables]))


if __name__ == "__main__":
    main()

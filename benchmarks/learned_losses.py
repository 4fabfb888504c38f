"""Numbers of losses, learned against fixed: wrong labels, and rare classes. `python benchmarks/learned_losses.py`

Trains each row on each seed and writes benchmarks/results/learned_losses.md. A run that is in
benchmarks/results/learned_losses.jsonl already, with the same settings, is not trained again. --rows trains only some
rows, --seeds only some seeds, and --show none. Each seed draws everything anew: the split, wrong labels or rare
classes, initial weights and the order of the data. A learned q gives a tenth of its training data away as held-out
data, with labels as wrong as the others; validation and test data are clean and balanced, and choose nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoloss.core.io.text_table import markdown, number
from autoloss.problems._noise import relative_sizes
from autoloss.report.verdict import compare

RESULTS = Path(__file__).with_name("results")
TABLE, RUNS = RESULTS / "learned_losses.md", RESULTS / "learned_losses.jsonl"
SHARED = ("problem=noisy_digits", "lr_schedule=constant", "trainer.max_epochs=50", "trainer.check_val_every_n_epoch=50")
SHARED += ("record.every=1000", "checkpoint.every=0", "trainer.accelerator=cpu", "threads=1", "test=true")
NOISY, RARE = "40 % wrong labels", "Rare classes"
CLASSES, RATIO = 10, 20.0
Q, ADJUSTED = "losses.digit=generalised_cross_entropy", "losses.digit=logit_adjusted"
PRIORS = [round(1000 * size) for size in relative_sizes(RATIO, CLASSES)]
TRUE = f"losses.digit.priors={PRIORS}".replace(" ", "")
OFFSETS = ",".join(["learned(0,-5,5)"] * CLASSES)
TRAINED_ON = ("held_out.source=train", "held_out.batch_size=200")
GRID = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
SMOOTHED = (0.1, 0.3, 0.5)
BASE, LEARNED = "cross_entropy", "logit_adjusted, offsets learned"
FROM_PRIORS, WEIGHTED = f"{LEARNED} beside true priors", f"{LEARNED}, judged by weighted cross-entropy"
OF_CLASSES = ",".join(f"{sum(PRIORS) / (CLASSES * size):.3g}" for size in PRIORS)
ROWS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    NOISY: {
        BASE: (),
        **{f"q = {q}": (Q, f"losses.digit.q={q}") for q in GRID},
        "q learned from 0.7": (Q, "losses.digit.q=learned"),
        "q learned from 0.2": (Q, "losses.digit.q=learned(0.2,0,1)"),
        **{f"label_smoothing = {s}": (f"losses.digit.label_smoothing={s}",) for s in SMOOTHED},
        "label_smoothing learned from 0.1": ("losses.digit.label_smoothing=learned(0.1,0,0.9)",),
    },
    RARE: {
        BASE: (),
        "class_balanced samples": ("sample_weighting=class_balanced",),
        "logit_adjusted, true priors": (ADJUSTED, TRUE),
        LEARNED: (ADJUSTED, f"losses.digit.offsets=[{OFFSETS}]", *TRAINED_ON),
        FROM_PRIORS: (ADJUSTED, TRUE, f"losses.digit.offsets=[{OFFSETS}]", *TRAINED_ON),
        WEIGHTED: (
            *(ADJUSTED, f"losses.digit.offsets=[{OFFSETS}]", *TRAINED_ON),
            f"held_out.losses.digit={{name:cross_entropy,class_weights:[{OF_CLASSES}]}}",
        ),
    },
}
OWN = {NOISY: ("problem.noise=0.4",), RARE: ("problem.noise=0.0", f"problem.imbalance={RATIO}")}
ABOUT = {
    NOISY: "Symmetric noise: a wrong label is any other class. Bars: the learned q gains 5 points over cross-entropy, "
    "and is within 1 point of the best fixed q.",
    RARE: f"The most frequent class has {RATIO:g} times as many samples as the rarest, some 250 in all; test data are "
    "balanced. Bar: learned offsets gain what true priors gain, less 1 point. They are learned on other batches of the "
    "training data (`held_out.source=train`): a tenth of them would hold one sample of the rarest class. "
    "Beside true priors the offsets begin at 0: this is where AutoBalance begins, too. The problem judges such data by "
    "cross-entropy that is adjusted to the frequencies: it knows what the offsets should be, so learning can find "
    "that and keep it, and not surpass it. AutoBalance judges by cross-entropy with weights of classes, on data "
    "that are not trained on; judged like that on data that are, offsets rise to about half of what they should be.",
}
Run = Mapping[str, Any]


def settings(part: str, row: str) -> list[str]:
    """The overrides of a row."""
    return [*SHARED, *OWN[part], *ROWS[part][row]]


def recorded() -> dict[tuple[str, str], dict[int, Run]]:
    """The recorded runs by part and row, then by seed, if their settings are those that the row has now."""
    found: dict[tuple[str, str], dict[int, Run]] = {(part, row): {} for part, rows in ROWS.items() for row in rows}
    for run in map(json.loads, RUNS.read_text().splitlines() if RUNS.exists() else []):
        where = run["part"], run["row"]
        if where in found and run["settings"] == settings(*where):
            found[where][run["seed"]] = run
    return found


def train_row(part: str, row: str, seed: int) -> Run:
    """Train one row on one seed and record it."""
    from autoloss.app.composition import composed
    from autoloss.app.overrides import rewritten
    from autoloss.app.train_one import train

    overrides = rewritten([*settings(part, row), f"seed={seed}"])
    with tempfile.TemporaryDirectory() as place:
        found = train(composed("train", overrides), Path(place) / "run", overrides)
    run = {"part": part, "row": row, "seed": seed, "settings": settings(part, row)}
    run |= {"error": found["test_metrics"]["error"], "numbers": found.get("loss_numbers", {})}
    run |= {"seconds": found["seconds"], "versions": found["versions"]}
    with RUNS.open("a") as file:
        file.write(json.dumps(run) + "\n")
    return run


def table(part: str, found: Mapping[tuple[str, str], Mapping[int, Run]]) -> str:
    """Accuracy of each row, its gain over cross-entropy on the same seeds, and where learned numbers ended."""
    seeds = sorted(found[part, BASE])
    whole = {row: found[part, row] for row in ROWS[part] if set(seeds) <= set(found[part, row])}
    scores = {row: [100 * (1 - of[seed]["error"]) for seed in seeds] for row, of in whole.items()}
    others = {row: of for row, of in scores.items() if row != BASE}
    compared = compare(others, scores[BASE]) if others and len(seeds) > 1 else {}
    cells = [["row", "accuracy", "gain", "95 % interval", "p (Holm)", "verdict", "ended at"]]
    for row, values in scores.items():
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        line = [row, f"{fmean(values):.1f}{spread}", f"{fmean(values) - fmean(scores[BASE]):+.1f}"]
        if (one := compared.get(row)) is not None:
            line += [f"{one.low:+.1f} to {one.high:+.1f}", number(one.p_corrected, ".2g"), one.words]
        else:
            line += ["", "", "the baseline" if row == BASE else ""]
        ends = [list(whole[row][seed]["numbers"].values()) for seed in seeds]
        means = [fmean(each) for each in zip(*ends, strict=True)]
        cells.append([*line, ", ".join(f"{mean:.2g}" for mean in means)])
    return markdown(cells)


def bars(found: Mapping[tuple[str, str], Mapping[int, Run]]) -> list[str]:
    """What the bars say of the runs that there are."""

    def mean(part: str, row: str) -> float:
        """The accuracy of a row that was run on all seeds; else NaN."""
        seeds, of = found[part, BASE], found[part, row]
        whole = len(seeds) > 1 and set(seeds) <= set(of)
        return 100 * (1 - fmean(of[seed]["error"] for seed in seeds)) if whole else math.nan

    best = max(mean(NOISY, f"q = {q}") for q in GRID)
    said = []
    for row in ROWS[NOISY]:
        gap = mean(NOISY, row) - best
        if row.startswith("q learned") and not math.isnan(gap):
            said.append(f"- {row}: {gap:+.1f} points against the best of {len(GRID)} fixed q ({best:.1f} %).")
    priors = mean(RARE, "logit_adjusted, true priors")
    for row in (LEARNED, FROM_PRIORS, WEIGHTED):
        if not math.isnan(gap := mean(RARE, row) - priors):
            said.append(f"- {row}: {gap:+.1f} points against true priors alone.")
    return said


def page(found: Mapping[tuple[str, str], Mapping[int, Run]]) -> str:
    """The page of all that was run."""
    some = next(run for of in found.values() for run in of.values())
    lines = ["# Numbers of losses, learned and fixed", "", "Written by `python benchmarks/learned_losses.py`.", ""]
    lines += [f"Settings: `{' '.join(SHARED)}`. Accuracy on test data in percent. Tests are paired by seed.", ""]
    for part in ROWS:
        seeds = sorted(found[part, BASE])
        if seeds:
            lines += [
                f"## {part}",
                "",
                f"{ABOUT[part]} Seeds {', '.join(map(str, seeds))}.",
                "",
                table(part, found),
                "",
            ]
    missing = [f"{row} ({part})" for part, row in found if not set(found[part, BASE]) <= set(found[part, row])]
    lines += [*bars(found), *([f"- Not (wholly) run: {', '.join(missing)}."] if missing else [])]
    lines.append(f"- {', '.join(f'{name} {version}' for name, version in some['versions'].items())}; CPU, one thread.")
    return "\n".join([*lines, ""])


def main(given: Sequence[str] | None = None) -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = list(dict.fromkeys(row for of in ROWS.values() for row in of))
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="only these rows")
    parser.add_argument("--parts", nargs="+", choices=list(ROWS), default=list(ROWS), help="only these parts")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--show", action="store_true", help="train nothing")
    options = parser.parse_args(given)
    for seed in options.seeds:
        for part, row in recorded():
            wanted = part in options.parts and row in options.rows and not options.show
            if wanted and seed not in recorded()[part, row]:
                print(part, row, seed, train_row(part, row, seed)["error"], flush=True)
    if any((found := recorded()).values()):
        TABLE.write_text(page(found))


if __name__ == "__main__":
    main()

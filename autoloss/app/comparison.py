"""Prints and writes the results of a comparison, as a table and in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autoloss.app.diverged import diverged_sentence
from autoloss.app.screen import places_line, report, say
from autoloss.app.unmoved import unmoved_sentence
from autoloss.core.io.files import write_json, write_text
from autoloss.core.io.text_table import leaderboard, markdown, number, span
from autoloss.core.metrics.score import relative_improvement

Cell = dict[str, Any]  # a run's summary


def show(
    cells: Mapping[str, list[Cell]],
    places: Mapping[str, list[str]],
    baseline: str,
    directory: Path,
    failed: Sequence[str],
    folds: int,
) -> None:
    """Print and write the table of ``cells`` (runs by choice, in ``places``), each tested against ``baseline``.

    A choice with a failed run lacks pairs for the test: it is listed as failed, and left out of the table.
    """
    from autoloss.report.decision import decide_comparison
    from autoloss.report.verdict import compare, sentence
    from autoloss.training.record.hparams import write_scores
    from autoloss.training.record.tensorboard import write_leaderboard

    notes = [f"failed: {one}" for one in failed]
    if not cells[baseline]:
        say("\n".join(["", *notes, f"No run of the baseline {baseline!r} finished, so there is no comparison."]))
        return
    whole = {label: of for label, of in cells.items() if len(of) == len(cells[baseline])}
    goals = cells[baseline][0]["goals"]
    reference = {name: fmean(measured(cell)[name] for cell in cells[baseline]) for name in goals}
    scores = {
        label: [relative_improvement(measured(cell), reference, goals) for cell in of] for label, of in whole.items()
    }
    overlap = 1 / (folds - 1) if folds > 1 else 0.0
    found = compare({k: v for k, v in scores.items() if k != baseline}, scores[baseline], overlap)
    tested = ["95 % interval of the difference", "p (Holm)"]
    rows = [["choice", "runs", "score", *tested, *goals, "sum of weights", "verdict"]]
    plain = []
    for label in sorted(scores, key=lambda one: -fmean(scores[one])):
        c, of = found.get(label), whole[label]
        metrics = [number(fmean(measured(cell)[name] for cell in of), ".4g") for name in goals]
        total = number(fmean(cell["mean_weight_sum"] for cell in of), ".3g")
        test = [span(c.low, c.high, "+.4f"), number(c.p_corrected, ".3g")] if c else ["-", "-"]
        words = c.words if c else "the baseline"
        plain.append(_plain(label, of, scores[label], c, words, goals, places[label]))
        rows.append([label, str(len(of)), number(fmean(scores[label]), "+.4f"), *test, *metrics, total, words])
    split = "test" if "test_metrics" in cells[baseline][0] else "validation"
    values = {label: {name: [measured(one)[name] for one in of] for name in goals} for label, of in whole.items()}
    decision = decide_comparison(values, found, baseline, goals, split, overlap)
    notes += [sentence(label, c, baseline) for label, c in found.items()]
    notes.append(f"score: mean relative improvement over {baseline!r} on {split} data, paired by seed or fold.")
    page = "\n".join([markdown(rows), "", *(f"- {note}" for note in notes)])
    write_text(directory / "leaderboard.md", page + "\n")
    found_here = {"baseline": baseline, "split": split, "goals": goals, "rows": plain, "notes": notes}
    write_json(directory / "compare.json", found_here | {"decision": decision.plain()})
    write_leaderboard(directory / "leaderboard", page)
    write_scores({directory / place: x for row in plain for place, x in zip(row["places"], row["scores"], strict=True)})
    report(directory)
    say("\n".join(["", leaderboard(rows, range(5, 5 + len(goals)), left=(0, len(rows[0]) - 1)), "", *notes, ""]))
    if unmoved := unmoved_sentence(directory):
        say(unmoved)
    if diverged := diverged_sentence(directory):
        say(f"autoloss: {diverged}", error=True)
    say(f"{decision.text}\n")
    say(places_line(directory, "leaderboard.md"))


def _plain(
    label: str, of: list[Cell], scores: list[float], c: Any, words: str, goals: Mapping[str, str], places: list[str]
) -> dict[str, Any]:
    """A row for the report; ``low`` and ``high`` are ``None`` if the interval is infinite."""
    known = c is not None and math.isfinite(c.low)
    return {
        "label": label,
        "scores": scores,
        "low": c.low if known else None,
        "high": c.high if known else None,
        "p": c.p_corrected if known else None,
        "words": words,
        "metrics": {name: fmean(measured(cell)[name] for cell in of) for name in goals},
        "weights": {name: fmean(cell["final_weights"][name] for cell in of) for name in of[0]["final_weights"]},
        "weight_sum": fmean(cell["mean_weight_sum"] for cell in of),
        "places": places,
    }


def measured(cell: Cell) -> dict[str, float]:
    """A run's test metrics where it has any, else those of validation."""
    return dict(cell.get("test_metrics") or cell["metrics"])

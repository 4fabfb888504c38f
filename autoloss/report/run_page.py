"""The page of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from autoloss.core.io.text_table import number
from autoloss.report.commands import commands, leaves, shown
from autoloss.report.constraint_table import constraint_table
from autoloss.report.explain import conflict_share, findings
from autoloss.report.next_step import next_step
from autoloss.report.page import Block, Cell, Chart, Code, Page, PageTable, Picture, Words
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.report.scale import apart, first, folded, tenfold

# Kinds of columns that are no chart of their own: they are drawn elsewhere on the page, or serve a replay.
KNOWN = {"step", "epoch", "progress", "loss", "loss_weight", "loss_raw", "loss_weighted", "loss_share"}
KNOWN |= {"grad_norm", "grad_share", "grad_cosine", "grad_cosine_min", "grad_item_norm", "grad_largest", "grad_mean"}


def run_page(record: RunRecord) -> Page:
    """What a run reached, how its weights changed, and why."""
    names = colour_names([record])
    missing = [f"{first:,} to {last:,}" for first, last in record.gaps]
    said = [f"The rows of the steps {', '.join(missing)} are missing: they could not be written."] if missing else []
    todo = next_step(record)
    blocks: list[Block] = [Words("What to do", todo)] if todo else []
    blocks += [Words("What happened", [*said, *findings(record)]), *_samples(record)]
    blocks += constraint_table(record)
    for part in record.parts.values():
        blocks += charts(part, record.steps)
    blocks += _metrics(record)
    blocks += _others(record)
    blocks += [table for part in record.parts.values() if (table := _losses(part)).rows]
    if lines := commands(record):
        blocks.append(Code("Again", lines, "Commands that repeat the run, and that show more of it."))
    if record.config:
        blocks.append(Code("Configuration", [f"{k}: {v}" for k, v in leaves(record.config)], folded=True))
    return Page(title(record), shown(record.directory), facts(record), blocks, names)


def title(record: RunRecord) -> str:
    """What was trained: the weighting, and the problem if it is known."""
    what = str(record.summary.get("weighting") or _name(record.config.get("weighting")) or "Run")
    problem = record.summary.get("problem") or _name(record.config.get("problem"))
    return what if problem is None else f"{what} on {problem}"


def colour_names(records: Sequence[RunRecord]) -> list[str]:
    """The losses and units of ``records`` in the order of their colours."""
    return list(
        dict.fromkeys(
            part.title(name)
            for record in records
            for part in record.parts.values()
            for name in (*part.losses, *part.units)
        )
    )


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """What is shown large: metrics, steps, time, seed and state."""
    summary = record.summary
    shown = [(name, number(value, ".4g")) for name, value in record.metrics.items()]
    shown += [(f"{name} (test)", number(value, ".4g")) for name, value in summary.get("test_metrics", {}).items()]
    if len(record.steps):
        shown.append(("steps", f"{summary.get('steps', int(record.steps[-1]) + 1):,}"))
    if "seconds" in summary:
        shown.append(("time", str(timedelta(seconds=round(summary["seconds"])))))
    if "seed" in summary:
        shown.append(("seed", str(summary["seed"])))
    state = "finished" if record.run.finished else "failed" if record.run.error else "not finished"
    return [*shown, ("state", state)]


def lines(
    title: str,
    x: Array,
    table: Mapping[str, Array],
    note: str = "",
    log: bool | None = None,
    sizes: Mapping[str, float] | None = None,
    **more: Any,
) -> Chart:
    """A line chart of the measured columns of ``table`` over ``x``; with ``log=None`` the axis is never logarithmic.

    Of many columns those of the largest ``sizes`` are shown first.
    """
    known = {name: y for name, y in table.items() if np.isfinite(y).any()}
    there = np.any([np.isfinite(y) for y in known.values()], 0) if known else np.zeros(len(x), bool)
    series = [{"name": name, "y": y[there]} for name, y in known.items()]
    data = {"x": x[there], "series": series, "log": log, **more, **first([*known], sizes or {})}
    return Chart(title, "lines", data, folded(note, data, len(known)))


def changes(part: PlayerRecord) -> dict[str, float]:
    """How far the weight of each loss and group of ``part`` ends from its base weight; of equal ones, its share."""
    found: dict[str, float] = {}
    for name in part.losses:
        weight, share = _last(part.weights.get(name)), _last(part.of("loss_share").get(name))
        size = apart([weight / (part.base.get(name, 1.0) or 1.0)]) + 1e-6 * np.nan_to_num(share)
        for of in {name, *(group for group, names in part.groups.items() if name in names)}:
            found[part.title(of)] = max(found.get(part.title(of), 0.0), size)
    return found


def charts(part: PlayerRecord, steps: Array) -> list[Block]:
    """The charts of one player; a chart without numbers is left out."""
    before = f"{part.player}: " if part.player else ""
    sizes = changes(part)

    def drawn(title: str, table: Mapping[str, Array], note: str = "", **more: Any) -> Chart:
        titled = {part.title(name): x for name, x in table.items()}
        return lines(f"{before}{title}", steps, titled, note, tenfold(titled.values()), sizes, **more)

    def share(title: str, table: Mapping[str, Array]) -> Chart:
        chart = drawn(title, table, "The share of each loss in the sum of all magnitudes.")
        data = {**chart.data, "series": [{**s, "y": np.nan_to_num(s["y"])} for s in chart.data["series"]]}
        return Chart(chart.title, "area", data, chart.note)

    effective = "The effective weight of a loss is d(total)/d(loss), base weight included."
    numbers = lines(f"{before}Learned numbers of losses", steps, part.numbers, "Learned from held-out data.", None)
    every = [
        drawn("Weights", part.weights, effective),
        drawn("Losses", part.raw, "Without weights.", smooth=True),
        drawn("Weighted losses", part.of("loss_weighted"), smooth=True),
        share("Share of the total", part.of("loss_share")),
        numbers,
        drawn("Gradient norms", part.grad_norms, "Without weights, at the anchor.", smooth=True),
        share("Share of the gradient", part.grad_shares),
    ]
    shown: list[Block] = [chart for chart in every if chart.data["series"]]
    return [*shown, *_cosines(part, steps, before, sizes)]


def _cosines(part: PlayerRecord, steps: Array, before: str, sizes: Mapping[str, float]) -> list[Block]:
    if not any(np.isfinite(x).any() for x in part.cosines.values()):
        return []
    size = len(part.units)
    values = np.full((size, size), np.nan)
    notes: list[list[str]] = [[""] * size for _ in range(size)]
    np.fill_diagonal(values, 1.0)
    for (a, b), x in part.cosines.items():
        i, j = part.units.index(a), part.units.index(b)
        if np.isfinite(x).any():
            values[i, j] = values[j, i] = float(np.nanmean(x))
            notes[i][j] = notes[j][i] = f"below 0 in {conflict_share(x):.0%} of the measured steps"
    names = [part.title(unit) for unit in part.units]
    matrix = {"names": names, "values": values, "notes": notes, **first(names, sizes)}
    mean = folded("Mean over the measured steps.", matrix, size)
    blocks: list[Block] = [Chart(f"{before}Cosines between gradients", "heat", matrix, mean)]
    lowest = {"lowest cosine": part.columns[part.tag("grad_cosine_min")]}
    if size == 2:
        lowest = {f"{names[0]} and {names[1]}": lowest["lowest cosine"]}
    elif size <= 4:
        lowest = {f"{part.title(a)} and {part.title(b)}": x for (a, b), x in part.cosines.items()}
    note = "Below 0 two losses conflict: a small step that lowers one raises the other."
    blocks.append(lines(f"{before}Conflict", steps, lowest, note, None, smooth=True))
    return blocks


def _metrics(record: RunRecord) -> list[Block]:
    curves = record.curves
    step = curves.get("step", np.empty(0))
    metrics = {tag.removeprefix("val/"): x for tag, x in curves.items() if tag.startswith("val/")}
    blocks: list[Block] = []
    if metrics and len(step):
        blocks.append(lines("Metrics on validation data", step, metrics, "After each epoch.", False, markers=True))
    pairs: list[dict[str, Any]] = []
    for title in record.losses:
        train, held = curves.get(f"train_loss/{title}"), curves.get(f"val_loss/{title}")
        if train is not None and held is not None and np.isfinite(held).any():
            pairs.append({"name": f"{title} (training)", "of": title, "y": train, "dash": "dashed"})
            pairs.append({"name": f"{title} (validation)", "of": title, "y": held, "dash": "solid"})
    if pairs:
        sizes = {name: size for part in record.parts.values() for name, size in changes(part).items()}
        data = {"x": step, "series": pairs, "log": tenfold(pair["y"] for pair in pairs), "markers": True}
        data |= first(list(dict.fromkeys(pair["of"] for pair in pairs)), sizes)
        note = "Dashed: the loss in training. Solid: the same loss on validation data."
        note = folded(note, data, len(pairs) // 2)
        blocks.append(Chart("Training against validation", "lines", data, note))
    return blocks


def _samples(record: RunRecord) -> list[Block]:
    if (png := record.samples()) is None:
        return []
    return [Picture("Samples", png, "After the last validation; TensorBoard has earlier ones.")]


def _others(record: RunRecord) -> list[Block]:
    groups: dict[str, dict[str, Array]] = {}
    for tag, x in record.columns.items():
        kind, _, name = tag.partition("/")
        if kind not in KNOWN:
            groups.setdefault(kind, {})[name or kind] = x
    found = [
        lines(kind.replace("_", " ").capitalize(), record.steps, table, "", False) for kind, table in groups.items()
    ]
    return [chart for chart in found if chart.data["series"]]


def _losses(part: PlayerRecord) -> PageTable:
    rows = []
    for name in part.losses:
        unit = next((group for group, names in part.groups.items() if name in names), name)
        pairs = [conflict_share(x) for pair, x in part.cosines.items() if unit in pair]
        cells = [
            _end(part.weights.get(name)),
            _end(part.raw.get(name)),
            _end(part.of("loss_share").get(name), ".1%"),
            _end(part.grad_norms.get(unit)),
            _end(part.grad_shares.get(unit), ".1%"),
            Cell(f"{max(pairs):.0%}", max(pairs)) if pairs else "-",
        ]
        rows.append([part.title(name), f"{part.base.get(name, 1.0):g}", *cells])
    header = [
        "loss",
        "base weight",
        "weight",
        "value",
        "share of total",
        "gradient norm",
        "share of gradient",
        "most frequent conflict",
    ]
    note = "Medians over the last tenth of the record; conflict: the largest share of steps with a cosine below 0."
    return PageTable("At the end", header, rows, note)


def _last(values: Array | None) -> float:
    """The median over the last tenth of what was measured; NaN without it."""
    known = np.empty(0) if values is None else values[np.isfinite(values)]
    return float(np.median(known[-max(1, round(0.1 * len(known))) :])) if len(known) else np.nan


def _end(values: Array | None, form: str = ".4g") -> Cell | str:
    last = _last(values)
    return Cell(number(last, form), last) if last == last else "-"


def _name(node: Any) -> str | None:
    return node.get("name") if isinstance(node, Mapping) else None

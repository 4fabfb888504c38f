"""The page of a sweep: several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autoloss.core.io.text_table import number, span
from autoloss.report.board_charts import against, fronts, intervals, shifted, spread, weights_by_choice
from autoloss.report.commands import again, shown
from autoloss.report.decided import decided
from autoloss.report.intervals import interval, paired
from autoloss.report.leaderboard import Entrant, Leaderboard, build, notes
from autoloss.report.page import Block, Cell, Chart, Code, Page, PageTable, Words
from autoloss.report.runs import Run, read_runs
from autoloss.report.sweep_decision import sweep_decision


def sweep_page(directory: Path) -> Page:
    """The leaderboard of the runs under ``directory``, and charts that compare them."""
    board = build(read_runs(directory))
    runs = [run for entrant in board.entrants for run in entrant.runs]
    names = list(dict.fromkeys(name for run in runs for name in summary(run).get("final_weights", {})))
    decision = sweep_decision(board)
    found = {"decision": decision.plain()} if decision else {}
    blocks: list[Block] = [*decided(found), Words("What was found", _said(board))]
    if board.entrants:
        blocks += [*_intervals(board), _table(board, directory)]
        choices = [(e.label, _mean_weights(e.runs)) for e in board.entrants]
        blocks += weights_by_choice(choices, names)
        blocks += against([(e.label, run.directory) for e in board.entrants for run in e.runs])
        points = [(e.label, e.label, {m: e.mean(m) for m in board.metrics}) for e in board.entrants]
        blocks += fronts(points, board.goals)
    blocks += [runs_table([*runs, *board.failed, *board.unfinished], board.metrics, directory)]
    blocks.append(Code("Again", again(directory)))
    problem = next((summary(run).get("problem", "") for run in runs), "")
    facts = [("runs", str(len(runs))), ("choices", str(len(board.entrants)))]
    facts += [("failed", str(len(board.failed)))] if board.failed else []
    facts += [("not finished", str(len(board.unfinished)))] if board.unfinished else []
    return Page(f"Sweep of {problem or f'{len(runs)} runs'}", shown(directory), facts, blocks, names)


def summary(run: Run) -> Mapping[str, Any]:
    """The summary of a run; empty if it did not finish."""
    return run.summary or {}


def _said(board: Leaderboard) -> list[str]:
    if not board.entrants:
        return ["No run of this sweep finished.", *notes(board)]
    best, said = board.entrants[0], []
    if best.scores:
        seeds, mean = len(best.scores), number(interval(best.scores)[0], "+.3g")
        known = {e.label: _difference(board, e) for e in board.entrants if e.label != board.baseline}
        sure = f", the mean of {seeds} seeds" if seeds > 1 else " on one seed"
        if ends := known.get(best.label):
            sure += f" (95 % interval of the difference to `{board.baseline}`, paired by seed: {span(*ends, '+.3g')})"
        said.append(f"`{best.label}` ranks first with a score of {mean}{sure}.")
        if sum(ends is not None for ends in known.values()) > 1:
            said.append(
                "Each interval is for one choice alone: among several, one can look better by chance. What to use is "
                "decided after Holm's correction for their number."
            )
    return [*said, *notes(board)]


def _difference(board: Leaderboard, e: Entrant, metric: str | None = None) -> tuple[float, float] | None:
    """The 95 % interval of the difference to the baseline in the score, or in ``metric``, paired by seed."""
    base = next((of for of in board.entrants if of.label == board.baseline), None)
    if base is None or base is e:
        return None
    mine, other = (of.scores if metric is None else of.values(metric) for of in (e, base))
    _, low, high = paired(e.by_seed(mine), base.by_seed(other))
    return (low, high) if low == low else None


def _intervals(board: Leaderboard) -> list[Chart]:
    paired_words = f"Line: 95 % interval of the difference to `{board.baseline}`, paired by seed. Grey: single seeds."
    words = paired_words if board.baseline else "Line: 95 % interval of the mean. Grey: single seeds."
    charts = []
    for name in board.metrics[:5]:
        rows = [_row(board, e, e.values(name), name) for e in board.entrants]
        charts.append(intervals(name, rows, name, f"Goal: {board.goals.get(name, 'none')}. {words}", zero=False))
    if board.baseline is None:
        return charts
    rows = [_row(board, e, e.scores) for e in board.entrants]
    note = f"Mean relative improvement over equal weights. {words}"
    return [intervals("Score", rows, "score (0: equal weights)", note), *charts]


def _row(board: Leaderboard, e: Entrant, values: Sequence[float], metric: str | None = None) -> dict[str, Any]:
    if board.baseline is None:
        return spread(e.label, values, interval(values)[1:], e.label)
    base = next(of for of in board.entrants if of.label == board.baseline)
    middle = interval(base.scores if metric is None else base.values(metric))[0]
    return spread(e.label, values, shifted(middle, *(_difference(board, e, metric) or (None, None))), e.label)


def _table(board: Leaderboard, directory: Path) -> PageTable:
    header = ["rank", "choice", "seeds", "score", "95 % interval of the difference", *board.metrics, "sum of weights"]
    rows: list[list[str | Cell]] = []
    for rank, e in enumerate(board.entrants, 1):
        ends = _difference(board, e)
        where = link(e.runs[0].directory, directory) if len(e.runs) == 1 else ""
        rows.append(
            [
                str(rank),
                Cell(e.label, None, where),
                str(len(e.runs)),
                cell(interval(e.scores)[0], "+.4f"),
                span(*ends, "+.3g") if ends else "-",
                *(cell(e.mean(name), ".4g") for name in board.metrics),
                cell(e.weight_sum, ".3g"),
            ]
        )
    note = f"Differences are those to `{board.baseline}`, paired by seed." if board.baseline else ""
    return PageTable("Leaderboard", header, rows, note)


def runs_table(runs: Sequence[Run], metrics: Sequence[str], directory: Path) -> PageTable:
    """Each run with its metrics, and a link to its page."""
    rows: list[list[str | Cell]] = []
    for run in runs:
        state = "finished" if run.finished else "failed" if run.error else "not finished"
        found = summary(run).get("metrics", {})
        rows.append(
            [
                Cell(run.directory.name, None, link(run.directory, directory)),
                state,
                str(summary(run).get("seed", "-")),
                *(cell(found[name], ".4g") if name in found else "-" for name in metrics),
                run.error or "",
            ]
        )
    return PageTable("Runs", ["run", "state", "seed", *metrics, "error"], rows)


def _mean_weights(runs: Sequence[Run]) -> dict[str, float]:
    found = [summary(run)["final_weights"] for run in runs]
    return {name: sum(of.get(name, 0.0) for of in found) / len(found) for name in found[0]}


def cell(value: float, form: str) -> Cell:
    """A cell with ``value`` in ``form``; a reader can sort by it."""
    return Cell(number(value, form), value if value == value else None)


def link(run: Path, directory: Path) -> str:
    """The path from ``directory`` to the page of ``run``; empty if it has none."""
    page = run / "report.html"
    return quote(page.relative_to(directory).as_posix()) if page.exists() else ""

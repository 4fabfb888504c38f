"""The page of a search, from its ``search.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.core.io.files import read_mapping
from autoloss.core.io.text_table import number, span
from autoloss.report.board_charts import KNEE, against, fronts, weights_by_choice
from autoloss.report.commands import again, shown
from autoloss.report.decided import decided
from autoloss.report.intervals import interval
from autoloss.report.page import Block, Cell, Code, Page, PageTable, Words
from autoloss.report.said import shortened
from autoloss.report.search_charts import ENOUGH, Trial, confirmed, history, importance, label, method, parallel
from autoloss.report.sweep_page import cell, link

STATES = {"complete": "finished", "pruned": "pruned", "fail": "failed"}
BEST = 12  # trials whose weights are drawn


def search_page(directory: Path, search: Mapping[str, Any]) -> Page:
    """What a search found, how certain that is, and which trials it ran."""
    trials: list[Trial] = search["trials"]
    ranked = _ranked(search)
    names = list(dict.fromkeys(name for t in ranked for name in t.get("final_weights", {})))
    blocks: list[Block] = [*decided(search), Words("What was found", _said(search, ranked))]
    if search["confirmed"]:
        blocks += [confirmed(search), _confirmed(search)]
    if ranked:
        blocks += [history(search, ranked), *importance(search), *parallel(search, ranked, names)]
        blocks += fronts([(method(t), label(t), t["metrics"]) for t in ranked], search["goals"])
        best = [*ranked[:BEST], *(t for t in ranked[BEST:] if t["baseline"])]
        blocks += weights_by_choice([(label(t), t.get("final_weights", {})) for t in best], names)
        blocks += against([(method(t), _place(directory, t)) for t in ranked])
    blocks.append(_table(search, [*ranked, *(t for t in trials if t["state"] != "complete")], directory))
    blocks.append(Code("Again", again(directory)))
    counts = {state: sum(t["state"] == state for t in trials) for state in ("complete", "pruned", "fail")}
    facts = [("trials", str(counts["complete"]))]
    facts += [(name, str(counts[key])) for key, name in (("pruned", "pruned"), ("fail", "failed")) if counts[key]]
    if ranked and "score" in ranked[0]:
        facts.append(("best score", number(ranked[0]["score"], "+.4g")))
    facts.append(("confirmed on", f"{len(search['confirmed'][0]['test'])} seeds" if search["confirmed"] else "nothing"))
    facts.append(("state", "finished" if search["over"] else "not finished"))
    return Page(_title(search, directory, names), shown(directory), facts, blocks, names)


def _title(search: Mapping[str, Any], directory: Path, names: Sequence[str]) -> str:
    """What was searched: on which problem, or for which losses of a person's own loop."""
    finished = (t for t in search["trials"] if t["state"] == "complete")
    summary = next(filter(None, (read_mapping(_place(directory, t) / "summary.json") for t in finished)), {})
    if problem := summary.get("problem"):
        return f"Search on {problem}"
    return f"Search for weights of {shortened(names)}" if names else "Search for weights"


def _said(search: Mapping[str, Any], ranked: Sequence[Trial]) -> list[str]:
    if not ranked:
        return ["No trial finished."]
    *each, verdict = search["verdict"] or ["The search is not finished: no candidate is confirmed yet."]
    said = [verdict, *each]
    best = ranked[0]
    if search["knee"] is not None and sum(t["on_front"] for t in ranked) < KNEE:
        said.append(
            f"Trial {best['number']}, `{best['label']}`, is on the Pareto front, which has fewer than {KNEE} trials."
        )
    elif search["knee"] is not None:
        said.append(f"Trial {best['number']}, `{best['label']}`, is the best compromise on the Pareto front.")
    elif "score" in best:
        said.append(
            f"Best single trial: {best['number']}, `{best['label']}`, with a score of {number(best['score'], '+.4g')}."
        )
    if search["importance"]:
        said.append(_most_important(search["importance"], len(ranked)))
    return said


def _most_important(importance: Mapping[str, float], trials: int) -> str:
    name, share = next(iter(importance.items()))
    if trials < ENOUGH:
        return f"{trials} finished trials are too few to say which parameter matters most; it takes about {ENOUGH}."
    return f"`{name}` matters most: it has {share:.0%} of the parameter importance ({trials} finished trials)."


def _ranked(search: Mapping[str, Any]) -> list[Trial]:
    done = [t for t in search["trials"] if t["state"] == "complete"]
    if search["knee"] is not None:
        return sorted(done, key=lambda t: (t["number"] != search["knee"], not t["on_front"], t["number"]))
    sign = -1.0 if search["objectives"][0]["goal"] == "max" else 1.0
    return sorted(done, key=lambda t: (sign * t["values"][0], t["number"]))


def _confirmed(search: Mapping[str, Any]) -> PageTable:
    rows: list[list[str | Cell]] = []
    tested = all(c.get("split", "test") == "test" for c in search["confirmed"])
    splits = ("validation", "test") if tested else ("validation",)
    for c in search["confirmed"]:
        if c["error"]:
            rows.append([c["label"], "-", *("-" for _ in splits), "-", "-", c["error"]])
            continue
        means = [cell(interval(c[split])[0], "+.4f") for split in splits]
        ends = span(c["low"], c["high"], "+.4f") if c.get("low") is not None else "-"
        p = cell(c["p"], ".3g") if c.get("p") is not None else "-"
        rows.append([c["label"], str(len(c["test"])), *means, ends, p, c.get("words", "the baseline")])
    header = ["candidate", "seeds", *splits, "95 % interval of the difference", "p (Holm)", "verdict"]
    note = "The candidates were chosen on validation data; test data are used only here."
    if not tested:
        note = "The problem has no test split: the candidates were chosen and compared on the same validation data."
    return PageTable("Confirmation on fresh seeds", header, rows, note)


def _table(search: Mapping[str, Any], trials: Sequence[Trial], directory: Path) -> PageTable:
    goals = list(search["goals"])
    rows: list[list[str | Cell]] = []
    for rank, t in enumerate(trials, 1):
        done, metrics = t["state"] == "complete", t.get("metrics", {})
        place = Cell(str(t["number"]), t["number"], link(_place(directory, t), directory))
        numbers = [(t.get("score"), "+.4f"), *((metrics.get(goal), ".4g") for goal in goals)]
        numbers += [(t.get("mean_weight_sum"), ".3g"), (t.get("seconds"), ".1f")]
        shown_numbers = ["-" if x is None else cell(x, form) for x, form in numbers]
        head: list[str | Cell] = [Cell(str(rank), rank) if done else "", place, t.get("label", ""), STATES[t["state"]]]
        rows.append([*head, *shown_numbers, t.get("error", "")])
    header = ["rank", "trial", "candidate", "state", "score", *goals, "sum of weights", "seconds", "error"]
    return PageTable("Leaderboard", header, rows, "Each trial is a single run, so part of this order is noise.")


def _place(directory: Path, trial: Trial) -> Path:
    # A trial of an earlier version has no place of its own.
    return directory / trial.get("place", f"trials/{trial['number']:04d}")

"""What a sweep decides: what to use, if its seeds show it."""

from __future__ import annotations

from dataclasses import replace

from autoloss.core.io.text_table import number
from autoloss.report.decision import Decision, decide_comparison
from autoloss.report.leaderboard import Entrant, Leaderboard
from autoloss.report.verdict import compare

MORE = "seed=0,1,2,3,4"


def sweep_decision(board: Leaderboard) -> Decision | None:
    """The choice of a sweep to use, tested as a comparison is; ``None`` where nothing was measured.

    Choices that lack a seed of equal weights' are not tested, and named.
    """
    if not board.entrants or not board.goals:
        return None
    base = next((e for e in board.entrants if e.label == board.baseline), None)
    problems = {str((run.summary or {}).get("problem")) for e in board.entrants for run in e.runs}
    if len(problems) > 1:
        return _open(
            f"the runs are of several problems ({', '.join(sorted(problems))}). Sweep over one of them at a time"
        )
    if base is None:
        lost = board.failed or board.unfinished
        what = "See why, and start the sweep again" if lost else "Add weighting=equal to the sweep"
        return _open(f"no run with equal weights {'finished' if lost else 'is there'} to compare with. {what}")
    if len(board.entrants) == 1:
        return _open(f"there is nothing to compare `{base.label}` with. Add a choice, as weighting=equal,auto")
    seeds = base.by_seed(base.scores)
    others = [e for e in board.entrants if e is not base]
    tested = {e.label: e for e in others if set(seeds) <= set(e.by_seed(e.scores))}
    if len(seeds) < 2 or not tested:
        best = board.entrants[0]
        first = f"`{best.label}` ranks first (score {number(best.score, '+.2g')}), but "
        why = "one seed shows no difference" if len(base.runs) == 1 else f"no choice has all seeds of `{base.label}`"
        return _open(f"{'' if best is base else first}{why}. Train what counts on the same seeds, as {MORE}")
    order = sorted(seeds)
    found = compare({label: _ordered(e, e.scores, order) for label, e in tested.items()}, [seeds[s] for s in order])
    values = {
        e.label: {name: _ordered(e, e.values(name), order) for name in board.goals} for e in (base, *tested.values())
    }
    decision = decide_comparison(values, found, base.label, board.goals, "validation")
    left = [f"`{e.label}`" for e in others if e.label not in tested]
    if not left:
        return decision
    return replace(decision, sentence=f"{decision.sentence} Not tested, since a seed is missing: {', '.join(left)}.")


def _open(why: str) -> Decision:
    return Decision(f"Nothing is decided: {why}.", "", 0, False, False)


def _ordered(e: Entrant, values: tuple[float, ...] | list[float], seeds: list[object]) -> list[float]:
    found = e.by_seed(values)
    return [found[seed] for seed in seeds]

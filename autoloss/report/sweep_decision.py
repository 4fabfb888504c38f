"""What a sweep decides: what to use, if its seeds show it."""

from __future__ import annotations

from autoloss.core.io.text_table import number
from autoloss.report.decision import Decision, decide_comparison
from autoloss.report.leaderboard import Entrant, Leaderboard
from autoloss.report.verdict import compare

MORE = "seed=0,1,2,3,4"


def sweep_decision(board: Leaderboard) -> Decision | None:
    """The choice of a sweep to use, tested as a comparison is; ``None`` where nothing was measured.

    Choices that lack a seed of equal weights' are not tested.
    """
    if not board.entrants or not board.goals:
        return None
    base = next((e for e in board.entrants if e.label == board.baseline), None)
    if base is None:
        return _open("no run has equal weights to compare with. Add weighting=equal to the sweep")
    if len(board.entrants) == 1:
        return _open(f"there is nothing to compare `{base.label}` with. Add a choice, as weighting=equal,auto")
    seeds = base.by_seed(base.scores)
    tested = {e.label: e for e in board.entrants if e is not base and set(e.by_seed(e.scores)) == set(seeds)}
    if len(seeds) < 2 or not tested:
        best = board.entrants[0]
        first = f"`{best.label}` ranks first (score {number(best.score, '+.2g')}), but "
        why = "one seed shows no difference" if len(base.runs) == 1 else "the choices have no seeds in common"
        return _open(f"{'' if best is base else first}{why}. Train what counts on the same seeds, as {MORE}")
    order = sorted(seeds)
    found = compare({label: _ordered(e, e.scores, order) for label, e in tested.items()}, [seeds[s] for s in order])
    values = {
        e.label: {name: _ordered(e, e.values(name), order) for name in board.goals} for e in (base, *tested.values())
    }
    return decide_comparison(values, found, base.label, board.goals, "validation")


def _open(why: str) -> Decision:
    return Decision(f"Nothing is decided: {why}.", "", 0, False, False)


def _ordered(e: Entrant, values: tuple[float, ...] | list[float], seeds: list[object]) -> list[float]:
    found = e.by_seed(values)
    return [found[seed] for seed in seeds]

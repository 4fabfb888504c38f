"""``autoloss meta meta.by=evolution``: learns the numbers of the rule ``auto`` on made-up problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloss.app.screen import say, shown
from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import write_json, write_text
from autoloss.core.io.occupied import readable
from autoloss.search import stop

if TYPE_CHECKING:
    from autoloss.meta.evolution import Generation

LOG, SETTINGS, TABLE, RULE = "worths.json", "evolution.json", "evolution.csv", "rule.yaml"
KEYS = ("generations", "population", "draws", "families")


def evolve(whole: Mapping[str, Any], directory: Path) -> int:
    """Learn, with a row for each generation; a directory that holds the beginning of the same command goes on."""
    from autoloss.meta.evolution import Evolution

    check(whole)
    import torch

    torch.set_num_threads(1)
    meta = whole["meta"]
    settings = {"seed": whole["seed"], **{key: meta[key] for key in KEYS}}
    before = readable(directory / SETTINGS)
    if whole["fresh"] or before is None:
        known: list[list[float]] = []
    else:
        # More generations go on from where fewer ended.
        if {**before, "generations": 0} != {**settings, "generations": 0}:
            raise ConfigError(
                f"A directory must hold one learned rule, but {str(directory)!r} holds that of {before}. Choose "
                "another by name=, or write fresh=true."
            )
        known = readable(directory / LOG) or []
        if known:
            say(f"{min(len(known), meta['generations'])} generations were run before")
    write_json(directory / SETTINGS, settings)
    evolution = Evolution(
        meta["generations"],
        meta["population"],
        meta["draws"],
        meta["families"],
        seed=whole["seed"],
        known=known,
    )
    rows: list[Generation] = []
    for generation in evolution.run(stop.check):
        rows.append(generation)
        known[generation.number :] = [list(generation.worths)]
        write_json(directory / LOG, known)
        write_text(directory / TABLE, _table(rows))
        best, mean = max(generation.worths), sum(generation.worths) / len(generation.worths)
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in generation.centre.items())
        say(f"generation {generation.number + 1}/{meta['generations']}: best {best:+.3f}  mean {mean:+.3f}   {numbers}")
    chosen = [f"- weighting.{name}={value:.3g}" for name, value in rows[-1].centre.items()]
    write_text(directory / RULE, "\n".join(["overrides:", "- weighting=auto", *chosen, ""]))
    say(f"\nthe rule: {shown(directory / RULE)}\nuse it: autoloss train load={shown(directory / RULE)}")
    return 0


def check(whole: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for what evolution cannot do."""
    if whole["problems"] or whole["unseen"]:
        raise ConfigError(
            "meta.by=evolution learns on made-up problems, so `problems` and `unseen` must be left out, but they are "
            f"{whole['problems']} and {whole['unseen']}."
        )
    for key, least in zip(KEYS, (1, 4, 1, 1), strict=True):
        value = whole["meta"][key]
        good = isinstance(value, int) and not isinstance(value, bool) and value >= least
        require(good, f"meta.{key} must be a number of at least {least}", f"it is {value!r}")


def _table(rows: Sequence[Generation]) -> str:
    """A row for each generation: what its candidates are worth, and the centre of the search after it."""
    names = list(rows[0].centre)
    lines = [",".join(["generation", "best", "mean", "worst", "sigma", *names])]
    for row in rows:
        worths = [max(row.worths), sum(row.worths) / len(row.worths), min(row.worths), row.sigma, *row.centre.values()]
        lines.append(",".join([str(row.number + 1), *(f"{value:.4f}" for value in worths)]))
    return "\n".join(lines) + "\n"

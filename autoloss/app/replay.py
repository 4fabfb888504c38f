"""``autoloss replay``: the weights that other weightings give for the recorded losses of a run, without its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.app.arguments import Parser
from autoloss.app.screen import say, shown
from autoloss.core.errors import ConfigError
from autoloss.core.io.files import write_text
from autoloss.core.io.text_table import aligned, number

TAIL = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, or 2 for a user's mistake."""
    parser = Parser("replay")
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="a directory with trajectory.csv")
    parser.add_settings(
        "weighting=NAME[,NAME...] (the run's own if there is none), weighting.PARAMETER=VALUE for each of them, "
        "player=NAME of a GAN"
    )
    options = parser.parse_args(arguments)
    return _replay(options.run, dict(options.settings))


def _replay(directory: Path, settings: dict[str, Any]) -> int:
    from autoloss.report.page import render
    from autoloss.report.replay_page import replay_page
    from autoloss.report.write import run_record
    from autoloss.training.replay import replay
    from autoloss.training.step.build import build_weighting

    record, player = run_record(directory), str(settings.pop("player", ""))
    if "" not in record.parts and not player and record.parts:
        player = next(iter(record.parts))
    nodes = _nodes(settings, record.config)
    found = {name: replay(record, build_weighting(node), player) for name, node in nodes.items()}
    page = directory / "replay.html"
    html = render(replay_page(record, record.parts[player], found))
    try:
        write_text(page, html)
    except OSError as error:
        raise ConfigError(
            f"A replay is written into the run's directory, but {str(page)!r} cannot be: {error.strerror or error}. "
            "Copy the directory to a place where you may write."
        ) from error
    names = [record.parts[player].title(name) for name in record.parts[player].losses]
    own = {name: record.weights[name] for name in names}
    rows = [["weighting", *names], ["of the run", *(_end(own[name]) for name in names)]]
    rows += [[name, *(_end(weights[n]) for n in names)] for name, (_, weights) in found.items()]
    say(f"final weights (median of the last tenth of {len(record.steps)} recorded steps)\n")
    say(aligned(rows, left=(0,)))
    say(f"\nreport: {shown(page)}")
    return 0


def _nodes(settings: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of each weighting, by its name."""
    own = {key.removeprefix("weighting."): value for key, value in settings.items() if key.startswith("weighting.")}
    strange = [key for key in settings if key != "weighting" and not key.startswith("weighting.")]
    if strange:
        raise ConfigError(f"A replay has only the keys weighting and player, but {strange[0]!r} was given. See --help.")
    if "weighting" in settings:
        names = [name.strip() for name in str(settings["weighting"]).split(",") if name.strip()]
        return {name: {"name": name, **own} for name in names}
    node = config.get("weighting")
    if not node:
        raise ConfigError("A replay needs a weighting, but none was given. Write weighting=gradnorm,mgda.")
    node = {"name": node} if isinstance(node, str) else dict(node)
    return {f"{node['name']} (replayed)": {**node, **own}}


def _end(weights: Any) -> str:
    import numpy as np

    known = weights[np.isfinite(weights)]
    return number(float(np.median(known[-max(1, round(TAIL * len(known))) :])), ".4g") if len(known) else "-"

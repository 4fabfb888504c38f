"""The end of a search: its files, what it says, and the model that it keeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.app.absolute_paths import with_absolute_paths
from autoloss.app.diverged import diverged_sentence
from autoloss.app.kept_model import keep
from autoloss.app.screen import report, say, shown
from autoloss.app.trust import import_paths
from autoloss.app.unmoved import unmoved_sentence
from autoloss.core.errors import first_line
from autoloss.core.io.disk import disk_error
from autoloss.core.io.files import KEPT, MODEL, read_json, write_text
from autoloss.core.metrics.score import relative_improvement
from autoloss.core.problem import Problem
from autoloss.search.budget import none_but_baseline
from autoloss.search.output import Outcome
from autoloss.training.record.hparams import write_scores


def show(
    outcome: Outcome,
    config: Mapping[str, Any],
    settings: Sequence[str],
    directory: Path,
    problem: Problem,
    config_dirs: Sequence[str] | None = None,
) -> int:
    """Write and say what the search found; with ``config_dirs`` also train its choice once more and keep the model.

    The exit code is 1 if no trial finished, only equal weights did, or the choice could not be trained.
    """
    if not outcome.ranked:
        say("autoloss: no trial finished.", error=True)
        return 1
    place, failed = shlex.quote(str(shown(directory))), none_but_baseline(outcome.study)
    keeps = config_dirs is not None and not failed
    command = _next(place, settings, predicts=keeps and problem.reads_files)
    outcome.write(directory, settings, command)
    write_text(directory / "best.yaml", outcome.best_yaml(with_absolute_paths(settings)))
    report(directory)
    say(f"\n{outcome.text()}\n")
    if sentence := unmoved_sentence(directory):
        say(sentence)
    if diverged := diverged_sentence(directory):
        say(f"autoloss: {diverged}", error=True)
    kept = not keeps or _keep(outcome, config, settings, directory, config_dirs or ())
    say(f"leaderboard: {place}/leaderboard.md")
    if config["search"]["storage"] is None:
        name = shlex.quote(outcome.study.study_name)
        say(f"look at the trials: optuna best-trial --storage {place}/study.log --study-name {name}")
    say(f"look at the weights: tensorboard --logdir {place}")
    say(f"report: {place}/report.html\n")
    say(outcome.banner())
    say(f"next: {command if kept else _next(place, settings, predicts=False)}")
    if failed:
        say(f"autoloss: {failed}", error=True)
    return 1 if failed or not kept else 0


def _keep(
    outcome: Outcome, config: Mapping[str, Any], settings: Sequence[str], directory: Path, config_dirs: Sequence[str]
) -> bool:
    """Keep the model of the choice; false, with a sentence, if its training fails."""
    try:
        seconds = keep(outcome.best, settings, config_dirs, config["seed"], directory)
    except Exception as error:
        if disk_error(error, directory) is not None:
            raise
        say(f"autoloss: {outcome.decision.label} failed when it was trained once more: {first_line(error)}", error=True)
        return False
    before = next((t.user_attrs["metrics"] for t in outcome.ranked if t.user_attrs.get("baseline")), None)
    summary = read_json(directory / KEPT / "summary.json")
    if before is not None and summary is not None:
        write_scores({directory / KEPT: relative_improvement(summary["metrics"], before, outcome.goals)})
    took = f"trained once more in {seconds:.1f} s; search.keep=false skips it" if seconds else "as before"
    say(f"model: {shown(directory / MODEL)} ({took})")
    return True


def _next(place: str, settings: Sequence[str], predicts: bool) -> str:
    """The one command that is worth typing now."""
    # A file may not import unregistered components: they must be typed.
    own = [one for one in settings if import_paths([one])]
    if not predicts:
        return " ".join(["autoloss train", f"load={place}/best.yaml", *map(shlex.quote, own)])
    trusted = [path for one in own if not one.startswith("losses.") for path in import_paths([one])]
    return " ".join([f"autoloss predict {place} NEW.csv", *([f"trust={','.join(trusted)}"] if trusted else [])])

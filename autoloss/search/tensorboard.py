"""Writes a search for TensorBoard, as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter

from autoloss.search.run_places import PLACE, confirmation
from autoloss.search.runner import Confirmed
from autoloss.training.record.hparams import SCORE, Plain, write_columns, write_scores

STUDY = "study"


def write_tensorboard(
    directory: Path,
    trials: Sequence[FrozenTrial],
    leaderboard: str,
    metrics: Sequence[str] = (),
    confirmed: Sequence[Confirmed] = (),
) -> None:
    """Write the run ``study`` of a search in ``directory``, and the score of each run into the run's own directory.

    A trial's is relative to the baseline's trial, that of a confirmation to the baseline's mean on the fresh seeds;
    both are on validation data. The study has score, best score so far and final weights over the trial's number, the
    leaderboard as text, and the columns of the table of all trials, with the problem's ``metrics``.
    """
    _write_study(directory / STUDY, trials, leaderboard, metrics)
    known = [(t.user_attrs.get(PLACE), t.user_attrs.get(SCORE)) for t in trials]
    scores = {directory / place: score for place, score in known if place is not None and score is not None}
    for of in confirmed:
        again = [confirmation(directory, of.trial, of.candidate, seed) for seed in of.seeds]
        scores |= dict(zip(again, of.validation, strict=False))  # one that failed has none
    write_scores(scores)


def _write_study(directory: Path, trials: Sequence[FrozenTrial], leaderboard: str, metrics: Sequence[str]) -> None:
    # Write the run anew: TensorBoard would show the first trials of a continued search twice.
    for old in directory.glob("events.out.tfevents.*"):
        old.unlink()
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    weights = [f"search/weight/{name}" for name in dict.fromkeys(n for t in done for n in _weights(t))]
    with SummaryWriter(str(directory)) as writer:
        writer.add_custom_scalars({"search": {"weights by trial": ["Multiline", weights]}})
        writer.add_text("leaderboard", leaderboard)
        write_columns(writer, [_row(t.user_attrs["candidate"]) for t in done], [f"val/{name}" for name in metrics])
        best = -float("inf")
        for trial in done:
            score = trial.user_attrs.get("score")
            if score is not None:
                best = max(best, score)
                writer.add_scalar("search/score", score, trial.number)
                writer.add_scalar("search/best_score", best, trial.number)
            for name, weight in _weights(trial).items():
                writer.add_scalar(f"search/weight/{name}", weight, trial.number)


def _row(candidate: Mapping[str, Any]) -> dict[str, Plain]:
    """The columns of a candidate's run, as the overrides that make it are called."""
    weighting = {f"weighting.{key}": value for key, value in candidate["weighting"].items() if key != "name"}
    losses = {f"losses.{term}": loss for term, loss in candidate["losses"].items()}
    chosen = {**weighting, **losses, **candidate["keys"]}
    plain = {key: x if isinstance(x, (bool, int, float)) else str(x) for key, x in chosen.items()}
    return {"weighting": str(candidate["weighting"]["name"]), "seed": 0, **plain}


def _weights(trial: FrozenTrial) -> dict[str, float]:
    """The final weights, scaled to sum to the number of losses: a method's own scale acts like a learning rate."""
    final: dict[str, float] = trial.user_attrs.get("final_weights", {})
    total = sum(final.values())
    return {name: weight * len(final) / total for name, weight in final.items()} if total else {}

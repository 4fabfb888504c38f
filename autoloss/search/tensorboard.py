"""Writes a search for TensorBoard, as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter


def write_tensorboard(directory: Path, trials: Sequence[FrozenTrial], leaderboard: str) -> None:
    """Write score, best score so far and final weights over the trial's number, and the leaderboard as text."""
    # Write the run anew: TensorBoard would show the first trials of a continued search twice.
    for old in directory.glob("events.out.tfevents.*"):
        old.unlink()
    done = [t for t in trials if t.state == TrialState.COMPLETE]
    weights = [f"search/weight/{name}" for name in dict.fromkeys(n for t in done for n in _weights(t))]
    with SummaryWriter(str(directory)) as writer:
        writer.add_custom_scalars({"search": {"weights by trial": ["Multiline", weights]}})
        writer.add_text("leaderboard", leaderboard)
        best = -float("inf")
        for trial in done:
            score = trial.user_attrs.get("score")
            if score is not None:
                best = max(best, score)
                writer.add_scalar("search/score", score, trial.number)
                writer.add_scalar("search/best_score", best, trial.number)
            for name, weight in _weights(trial).items():
                writer.add_scalar(f"search/weight/{name}", weight, trial.number)


def _weights(trial: FrozenTrial) -> dict[str, float]:
    """The final weights, scaled to sum to the number of losses: a method's own scale acts like a learning rate."""
    final: dict[str, float] = trial.user_attrs.get("final_weights", {})
    total = sum(final.values())
    return {name: weight * len(final) / total for name, weight in final.items()} if total else {}

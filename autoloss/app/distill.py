"""``autoloss distill RUN_DIR``: turns a run's weights into a schedule that another run can use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoloss.app.arguments import Parser
from autoloss.app.screen import say


def main(arguments: Sequence[str]) -> int:
    """Write ``schedule.yaml`` and say how to use it."""
    parser = Parser("distill", "Turns the weights of a run into a schedule for other runs.")
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="a directory with trajectory.csv")
    parser.add_argument("--out", type=Path, help="the file to write; RUN_DIR/schedule.yaml by default")
    parser.add_argument("--points", type=int, default=50, help="intervals of each curve; it has one point more")
    parser.add_argument(
        "--smooth", type=float, default=0.05, help="width of the moving average, as a share of training"
    )
    parser.add_argument("--player", default="", help="the player whose weights are meant, in a GAN")
    options = parser.parse_args(arguments)

    from autoloss.meta.distill import distill

    curves = distill(options.run, options.points, options.smooth, options.player)
    path = options.out or options.run / "schedule.yaml"
    curves.write(path, f"Weights over progress, distilled by autoloss from {options.run}.")
    for name, values in curves.weights.items():
        first, middle, last = values[0], values[len(values) // 2], values[-1]
        say(f"{name}: {first:.4g} at the start, {middle:.4g} half-way, {last:.4g} at the end")
    say(f"\nwritten: {path}\nuse it: autoloss train weighting=scheduled weighting.load={path}")
    return 0

"""Is a distilled schedule as good as the run that it was made from? `two_digits`: learn, distil, replay on new seeds.

`auto_lambda` learns on seeds 0 to 4; the weights of seed 0 become a schedule, which seeds 5 to 9 replay at the cost of
a plain sum. The score is the mean relative improvement of the test metrics over equal weights on the same seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.metrics.score import relative_improvement
from autoloss.meta.distill import distill


def run(directory: Path, seed: int, epochs: int, overrides: list[str]) -> dict[str, float]:
    """The test metrics of one training."""
    chosen = ["problem=two_digits", f"seed={seed}", f"trainer.max_epochs={epochs}", "test=true", "checkpoint.every=0"]
    metrics: dict[str, float] = train(composed("train", [*chosen, *overrides], []), directory)["test_metrics"]
    return metrics


def main() -> None:
    """Print a row for each run, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--weighting", default="auto_lambda")
    options = parser.parse_args()
    first, second = range(options.seeds), range(options.seeds, 2 * options.seeds)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def runs(name: str, seeds: range, overrides: list[str]) -> list[dict[str, float]]:
            return [run(root / f"{name}{seed}", seed, options.epochs, overrides) for seed in seeds]

        equal = runs("equal", first, ["weighting=equal"]) + runs("equal", second, ["weighting=equal"])
        baseline = {name: mean(one[name] for one in equal) for name in equal[0]}
        learned = runs("learned", first, [f"weighting={options.weighting}"])
        schedule = root / "schedule.yaml"
        distill(root / "learned0").write(schedule, "")
        replayed = runs("replayed", second, ["weighting=scheduled", f"weighting.load={schedule}"])
    goals = dict.fromkeys(baseline, "min")
    print(f"| run | seed | score | {' | '.join(baseline)} |\n|" + "---|" * (len(baseline) + 3))
    scores: dict[str, list[float]] = {}
    for title, found, seeds in ((options.weighting, learned, first), ("its schedule", replayed, second)):
        scores[title] = [relative_improvement(one, baseline, goals) for one in found]
        for seed, one, value in zip(seeds, found, scores[title], strict=True):
            cells = " | ".join(f"{one[name]:.4f}" for name in baseline)
            print(f"| {title} | {seed} | {value:+.4f} | {cells} |")
    spread, apart = stdev(scores[options.weighting]), mean(scores["its schedule"]) - scores[options.weighting][0]
    print(f"\nequal weights: {', '.join(f'{name} {value:.4f}' for name, value in baseline.items())}")
    print(f"{options.weighting}: {mean(scores[options.weighting]):+.4f}, deviation between seeds {spread:.4f}")
    verdict = "within one deviation" if abs(apart) <= spread else "better" if apart > 0 else "worse"
    print(f"its schedule on fresh seeds: {mean(scores['its schedule']):+.4f}")
    print(f"difference to the run that it was made from: {apart:+.4f}, {verdict}")


if __name__ == "__main__":
    main()

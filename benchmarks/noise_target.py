"""Do learned weights find a useless loss? `two_digits` with a fourth loss, on labels that are pure noise.

The noise has a head of its own and is left out of the held-out objective. The bar: at the end the weight of the noise
is below a tenth of the real losses' mean weight, and no real loss is below a tenth of that mean. The test metrics of
the last step are shown beside those of equal weights with the noise, and of equal weights without it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import torch
from spread import spread
from torch import Tensor, nn

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.problem import Outputs, Term
from autoloss.problems._tensors import Batch, TensorTable
from autoloss.problems.two_digits import TwoDigits

REAL = ("left", "right", "pixels")
METHODS = ("without noise", "equal", "auto_lambda", "learned")


class NoisyDigits(TwoDigits):
    """`two_digits` and a loss on one of ten labels that were drawn at random, once for each pair."""

    terms = {**TwoDigits.terms, "noise": "cross_entropy"}

    def network(self) -> nn.Module:
        network = super().network()
        network.noise = nn.Linear(64, 10)
        return network

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        made = super().outputs(network, batch)
        assert isinstance(made.anchor, Tensor)
        return Outputs({**made.terms, "noise": Term(network.noise(made.anchor), batch["noise"])}, made.anchor)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return TwoDigits().measure(outputs)

    def _draw(self, source: Tensor, pairs: int, seed: int) -> TensorTable:
        table = super()._draw(source, pairs, seed)
        table.columns = {
            **table.columns,
            "noise": torch.randint(10, (pairs,), generator=torch.Generator().manual_seed(seed)),
        }
        return table


def run(method: str, seed: int, epochs: int, further: list[str]) -> dict[str, dict[str, float]]:
    """Final weights and test metrics of one training."""
    noisy = method != "without noise"
    name = "noise_target:NoisyDigits" if noisy else "two_digits"
    chosen = [f"problem={name}", f"weighting={method if noisy else 'equal'}", f"seed={seed}"]
    chosen += [f"trainer.max_epochs={epochs}", "test=true", "checkpoint.every=0"]
    chosen += ["held_out.primary=[left,right,pixels]"] if noisy else []
    config = composed("train", chosen + (further if method in METHODS[2:] else []), [])
    with tempfile.TemporaryDirectory() as directory:
        summary = train(config, Path(directory))
    return {"weights": summary["final_weights"], "metrics": summary["test_metrics"]}


def main() -> None:
    """Print a row for each method and seed, and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("overrides", nargs="*", help="of the learned methods: weighting.lr=0.03")
    options = parser.parse_args()
    metrics = list(TwoDigits.metrics)
    print(f"{options.epochs} epochs, torch {torch.__version__}\n")
    print(f"| method | seed | {' | '.join(REAL)} | noise / real mean | {' | '.join(metrics)} |")
    print("|" + "---|" * (len(REAL) + len(metrics) + 3), flush=True)
    good: dict[str, int] = dict.fromkeys(options.methods, 0)
    means = {}
    jobs = [(method, seed, options.epochs, options.overrides) for method in options.methods for seed in options.seeds]
    results = spread(run, jobs, options.workers)
    for method in options.methods:
        found = []
        for seed in options.seeds:
            result = next(results)
            weights = result["weights"]
            real = mean(weights[name] for name in REAL)
            share = weights.get("noise", 0.0) / real
            good[method] += share < 0.1 and min(weights[name] for name in REAL) > 0.1 * real
            cells = [f"{weights[name]:.3f}" for name in REAL] + [f"{share:.4f}" if "noise" in weights else ""]
            cells += [f"{result['metrics'][name]:.4f}" for name in metrics]
            found.append([result["metrics"][name] for name in metrics])
            print(f"| {method} | {seed} | " + " | ".join(cells) + " |", flush=True)
        means[method] = [mean(column) for column in zip(*found, strict=True)]
    print("\nmean over seeds, test")
    print(f"| method | {' | '.join(metrics)} | seeds within the bar |\n|" + "---|" * (len(metrics) + 2))
    for method in options.methods:
        cells = " | ".join(f"{value:.4f}" for value in means[method])
        verdict = f"{good[method]} of {len(options.seeds)}" if method in METHODS[2:] else ""
        print(f"| {method} | {cells} | {verdict} |")


if __name__ == "__main__":
    main()

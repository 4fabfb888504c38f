"""What a step of `autoloss train` costs, as a ratio to a step of a plain LightningModule.

python benchmarks/lightning_step.py [--rounds 7] [--epochs 8] [--weightings equal uncertainty gradnorm]

Both train `two_digits` in this process, in turn: the same network, data, loader, losses, optimiser, learning rates and
flags of the Trainer. The plain module sums the losses; ours has all that `autoloss train` has, except that both
validate and write checkpoints at the end only. What is timed is the CPU time of the process, on one thread, between
two batches that the loader gives: the end of an epoch is left out. A ratio is taken within a round, of the medians
over its epochs; the table shows medians over rounds.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional

from autoloss.app import train_one
from autoloss.app.composition import composed
from autoloss.app.prepare import PreparedRun, prepare
from autoloss.app.trainer_flags import build_trainer
from autoloss.training.lightning import loaders

FIRST = 2  # batches of an epoch that are not timed: Lightning loads one in advance


class TimedLoader(loaders.EpochLoader):
    """A loader that notes the CPU seconds of a step, once for each epoch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        begun, last = 0.0, len(self) - 1
        for number, batch in enumerate(super().__iter__()):
            if number == FIRST:
                begun = time.process_time()
            elif number == last:
                self.steps.append((time.process_time() - begun) / (last - FIRST))
            yield batch


class Plain(pl.LightningModule):
    """The network of `two_digits`, and the sum of its losses."""

    def __init__(self, run: PreparedRun) -> None:
        super().__init__()
        self.network, self.run = run.problem.network(), run

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        _, left, right, pixels = self.network(batch["canvas"])
        return (
            functional.cross_entropy(left, batch["left"])
            + functional.cross_entropy(right, batch["right"])
            + functional.mse_loss(pixels, batch["pixels"])
        )

    def configure_optimizers(self) -> Any:
        optimizer = self.run.ingredients.optimizer(self.parameters())
        schedule = self.run.ingredients.scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def settings(weighting: str, epochs: int) -> dict[str, Any]:
    """The configuration of the run."""
    given = ["problem=two_digits", f"weighting={weighting}", "threads=1", f"checkpoint.every={epochs}"]
    flags = [f"trainer.max_epochs={epochs}", f"trainer.check_val_every_n_epoch={epochs}", "trainer.accelerator=cpu"]
    return composed("train", [*given, *flags], [])


def plain(epochs: int) -> float:
    """The CPU seconds of a step of the plain module."""
    config = settings("equal", epochs)
    run = prepare(config)
    run.restore_random()
    train = made(run.problem.datasets(config["seed"])["train"], config["batch_size"], config["seed"], True)
    with tempfile.TemporaryDirectory() as place:
        trainer = build_trainer(
            config["trainer"],
            default_root_dir=place,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(Plain(run), train)
    return median(train.steps)


def ours(weighting: str, epochs: int) -> float:
    """The CPU seconds of a step of `autoloss train`."""
    found: list[TimedLoader] = []

    def kept(*args: Any, **kwargs: Any) -> loaders.EpochLoader:
        found.append(made(*args, **kwargs))
        return found[-1]

    before, train_one.loader = train_one.loader, kept
    try:
        with tempfile.TemporaryDirectory() as place:
            train_one.train(settings(weighting, epochs), Path(place))
    finally:
        train_one.loader = before
    return median(found[0].steps)


def made(*args: Any, **kwargs: Any) -> TimedLoader:
    """The loader of `autoloss train`, timed."""
    before, loaders.EpochLoader = loaders.EpochLoader, TimedLoader  # type: ignore[misc]
    try:
        found = loaders.loader(*args, **kwargs)
    finally:
        loaders.EpochLoader = before  # type: ignore[misc]
    assert isinstance(found, TimedLoader)
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--weightings", nargs="+", default=["equal", "uncertainty", "gradnorm"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    train_one.quiet()
    runs = {"a plain LightningModule": plain} | {name: partial(ours, name) for name in given.weightings}
    for run in runs.values():
        run(2)
    rounds = [{name: run(given.epochs) for name, run in runs.items()} for _ in range(given.rounds)]
    versions = f"torch {torch.__version__}, Lightning {pl.__version__}, Python {platform.python_version()}"
    print(f"`two_digits`, batch 128, cpu, 1 thread, {versions}, median over {given.rounds} rounds\n")
    print("| | CPU milliseconds of a step | ratio |\n|---|---|---|")
    for name in runs:
        ratio = median(row[name] / row["a plain LightningModule"] for row in rounds)
        print(f"| {name} | {1000 * median(row[name] for row in rounds):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

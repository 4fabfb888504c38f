"""Our loader beside torchdata's, where a training resumes within an epoch: `python benchmarks/loaders.py`.

Needs torchdata (`pip install torchdata`), which autoloss does not. Three questions, with 0 and 2 worker processes: the
time of an epoch of `two_digits`, as a ratio to torch's DataLoader; the time from a resume near an epoch's end to its
first batch, in epochs; and whether a Lightning training that is interrupted in the middle of an epoch then has the same
batches, bit for bit, as one that was not, without and with a random transform of the samples.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader, Dataset

from autoloss.core.io.text_table import markdown
from autoloss.problems.two_digits import TwoDigits
from autoloss.training.lightning.loaders import EpochLoader, EpochShuffle
from autoloss.training.lightning.shared.rng import KeepsRandomState

BATCH, PLACE = 32, 0.8


class Samples(Dataset[torch.Tensor]):
    """The canvases of `two_digits`, with noise of each sample's own if ``random``, after ``seconds`` of other work."""

    def __init__(self, random: bool = False, seconds: float = 0.0) -> None:
        data = TwoDigits().datasets(0)["train"]
        self.canvas, self.random, self.seconds = data[list(range(len(data)))]["canvas"], random, seconds

    def __len__(self) -> int:
        return len(self.canvas)

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.seconds)
        canvas = self.canvas[index]
        return canvas + 0.1 * torch.randn(canvas.shape) if self.random else canvas


class Resumable(EpochShuffle):
    """The order of ``EpochShuffle`` from a sampler that has a state, as torchdata would have it."""

    yielded, skipped = 0, 0

    def __iter__(self) -> Iterator[int]:
        start, self.skipped = self.skipped, 0
        for self.yielded, index in enumerate([*super().__iter__()][start:], start + 1):
            yield index

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "yielded": self.yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.skipped = state["epoch"], state["yielded"]


def made(
    kind: type[DataLoader[Any]], data: Samples, workers: int, sampler: type[EpochShuffle] = EpochShuffle
) -> DataLoader[Any]:
    """The loader as a run makes it."""
    return kind(
        data,
        batch_size=BATCH,
        sampler=sampler(len(data), 0),
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        persistent_workers=workers > 0,
    )


def epoch_seconds(loader: DataLoader[Any]) -> float:
    """The time of one epoch."""
    begun = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - begun


def resumed_seconds(kind: type[DataLoader[Any]], data: Samples, workers: int) -> float:
    """The time from a resume at ``PLACE`` of an epoch to the first batch, less that of a fresh loader's first batch."""
    first = made(kind, data, workers)
    batches = iter(first)
    for _ in range(int(PLACE * len(first))):
        next(batches)
    state = first.state_dict()  # type: ignore[attr-defined]
    seconds = []
    for given in (None, state):
        loader = made(kind, data, workers)
        begun = time.perf_counter()
        if given is not None:
            loader.load_state_dict(given)  # type: ignore[attr-defined]
        next(iter(loader))
        seconds.append(time.perf_counter() - begun)
    return seconds[1] - seconds[0]


class Listener(KeepsRandomState, pl.LightningModule):
    """Notes each batch, with a random number that a dropout might have drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[int, float] = {}

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        factor = torch.arange(batch.numel(), dtype=torch.float64).view_as(batch)
        self.seen[self.global_step] = float((batch.double() * factor).sum()) + float(torch.rand(()))
        return self.weight * batch.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Saves(Callback):
    """Writes a checkpoint after ``step`` steps."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fitted(loader: DataLoader[Any], callbacks: list[Callback], checkpoint: Path | None = None) -> dict[int, float]:
    """The batches of three epochs by step."""
    torch.manual_seed(0 if checkpoint is None else 1)
    module = Listener()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=3, callbacks=callbacks, enable_model_summary=False, **quiet)
    trainer.fit(module, loader, ckpt_path=checkpoint)
    return module.seen


def same(kind: type[DataLoader[Any]], sampler: type[EpochShuffle], random: bool, workers: int, epoch: int) -> str:
    """Whether a training that was interrupted in the middle of ``epoch`` has the batches of one that was not."""
    data = Samples(random)
    with tempfile.TemporaryDirectory() as place:
        path, steps = Path(place) / "one.ckpt", -(-len(data) // BATCH)
        saved = epoch * steps + steps // 2
        whole = fitted(made(kind, data, workers, sampler), [Saves(saved, path)])
        try:
            resumed = fitted(made(kind, data, workers, sampler), [], path)
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert len(whole) == 3 * steps
    wanted = {step: value for step, value in whole.items() if step >= saved}
    if list(resumed) != list(wanted):
        return f"no: {len(resumed)} batches, not {len(wanted)}"
    return "yes" if resumed == wanted else "no"


def interleaved(parts: dict[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """The median of each of ``parts``, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            times[name].append(part())
    return {name: median(of) for name, of in times.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    try:
        from torchdata import __version__ as version
        from torchdata.stateful_dataloader import StatefulDataLoader
    except ImportError:
        raise SystemExit("This benchmark needs torchdata: pip install torchdata") from None
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    kinds: dict[str, type[DataLoader[Any]]] = {
        "DataLoader": DataLoader,
        "EpochLoader": EpochLoader,
        "StatefulDataLoader": StatefulDataLoader,
    }
    resumable = list(kinds)[1:]
    print(f"torch {torch.__version__}, torchdata {version}, pytorch-lightning {pl.__version__}, CPU.\n")

    rows = [["loader", "workers", "epoch / DataLoader's", "resume, in epochs", "resume, 1 ms a sample, in epochs"]]
    for workers in (0, 2):
        loaders = {name: made(kind, Samples(), workers) for name, kind in kinds.items()}
        epochs = interleaved({n: lambda x=x: epoch_seconds(x) for n, x in loaders.items()}, options.repeats)  # type: ignore[misc]
        slow = Samples(seconds=1e-3)
        slow_epoch = epoch_seconds(made(DataLoader, slow, workers))
        for name in kinds:
            cells = ["", ""]
            if name in resumable:
                costs = [
                    median(resumed_seconds(kinds[name], data, workers) for _ in range(repeats)) / epoch
                    for data, epoch, repeats in ((Samples(), epochs["DataLoader"], 5), (slow, slow_epoch, 1))
                ]
                cells = [f"{cost:.2f}" for cost in costs]
            rows.append([name, str(workers), f"{epochs[name] / epochs['DataLoader']:.2f}", *cells])
    print(markdown(rows))

    tried = {name: (kinds[name], EpochShuffle) for name in resumable}
    tried["StatefulDataLoader, sampler with a state"] = (StatefulDataLoader, Resumable)
    rows = [["interrupted in", "workers", "random transform", *tried]]
    for epoch in (0, 1):
        for workers in (0, 2):
            for random in (False, True):
                answers = [same(*of, random, workers, epoch) for of in tried.values()]
                rows.append([f"epoch {epoch}", str(workers), "yes" if random else "no", *answers])
    print("\nThe same batches as without the interruption:\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()

"""Data loaders whose order depends on the seed and the epoch, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from autoloss.core.errors import LoaderError, require
from autoloss.training.lightning.shared.rng import untouched_rng


class EpochShuffle(Sampler[int]):
    """A permutation for each (seed, epoch): a resumed run sees the data in the order of the uninterrupted one."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.size, generator=generator).tolist())


# Not torchdata's StatefulDataLoader: it is as fast and resumes at once, where ours loads up to an epoch again, but the
# random transforms of its worker processes are not the same after a resume (benchmarks/results/loaders.md).
class EpochLoader(DataLoader[Any]):
    """A loader that a checkpoint within an epoch can name the place of, and go on from there.

    What came before that place is loaded again and dropped, and the random generators do not see it. Its iterator
    begins when the first batch is wanted: Lightning makes that of a resumed run before it says which epoch it is, and
    processes that load data would begin with the order of the first one.
    """

    _taken, _skip = 0, 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._taken, self._skip = self._skip, 0
        batches: Iterator[Any] = super().__iter__()
        try:
            if self._taken:
                with untouched_rng():
                    for _ in range(self._taken):
                        next(batches)
            for batch in batches:
                self._taken += 1
                yield batch
        except (RuntimeError, OSError, EOFError) as error:
            # What torch says depends on what the process was at: often no more than that a connection was reset.
            died = [] if str(error).startswith("Caught ") else _died(batches)
            if not died:
                raise
            raise LoaderError(
                f"Processes that load data must live, but one ended with {died[0]} (a negative number is a signal, -9 "
                "often means that memory ran out). Lower workers or batch_size, or set workers=0 to see what it did."
            ) from error

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were taken."""
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch behind the batches that were taken; at an epoch's end those are none."""
        self._skip = int(state["taken"]) % max(1, len(self))


class HeldOut:
    """Batches of data that is not trained on; which samples depends on the seed, the step and the rank alone.

    Every sample is drawn once before any is drawn again. Taken in this process, without workers.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.size = len(dataset)  # type: ignore[arg-type]
        require(self.size > 0, "Held-out data must have samples", "it has none", "Raise held_out.share.")
        self.batch_size = min(batch_size, self.size)

    def batch(self, step: int, rank: int = 0) -> Any:
        """The batch of optimiser step ``step``."""
        turn, place = divmod(step, self.size // self.batch_size)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + turn) * 65_537 + rank)
        order = torch.randperm(self.size, generator=generator)
        chosen = order[place * self.batch_size :][: self.batch_size].tolist()
        taken = getattr(self.dataset, "__getitems__", None)
        rows = taken(chosen) if taken else [self.dataset[i] for i in chosen]
        return (getattr(self.dataset, "collate", None) or default_collate)(rows)


def _died(batches: Any) -> list[int]:
    """How the processes that load ``batches`` ended, of those that did."""
    workers = getattr(batches, "_workers", ())
    for one in workers:
        # Its connection ends a moment before the process does.
        one.join(0.5)
    return [one.exitcode for one in workers if one.exitcode]


def loader(
    dataset: Dataset[Any],
    batch_size: int,
    seed: int,
    shuffle: bool,
    workers: int = 0,
    order: Sampler[int] | None = None,
) -> EpochLoader:
    """A loader of ``dataset``, in the ``order`` of a sampler if given; its last batch may be smaller.

    The dataset's own ``collate`` is used where it has one.
    """
    if order is None and shuffle:
        order = EpochShuffle(len(dataset), seed)  # type: ignore[arg-type]
    return EpochLoader(
        dataset,
        batch_size=batch_size,
        sampler=order,
        collate_fn=getattr(dataset, "collate", None),
        num_workers=workers,
        # Without a generator of its own a loader draws from the global one, and dropout would see it.
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=workers > 0,
    )

"""Data loaders whose order depends on the seed and the epoch only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from autoloss.core.datasets import collated, size_of
from autoloss.core.errors import ConfigError, LoaderError, check_known, require
from autoloss.core.sample_order import EpochShuffle
from autoloss.core.tensors.draws import SEEDS
from autoloss.training.lightning.shared.rng import untouched_rng


# Not torchdata's StatefulDataLoader: it is as fast and resumes at once, where ours loads up to an epoch again, but the
# random transforms of its worker processes are not the same after a resume (benchmarks/results/loaders.md).
class EpochLoader(DataLoader[Any]):
    """A loader that resumes within an epoch: its state is the number of batches that were taken.

    The batches before that place are loaded again and dropped, and the random generators are then restored. Loading
    starts when the first batch is requested. Lightning makes the iterator of a resumed run before it sets the epoch,
    and worker processes that had started by then would use the order of the first epoch. Of a stream without a length
    the Trainer takes one batch more than it trains on, to know which one is the last.
    """

    _taken, _skip = 0, 0
    _ended = False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._taken, self._skip, self._ended = self._skip, 0, False
        batches: Iterator[Any] = super().__iter__()
        try:
            if self._taken:
                with untouched_rng():
                    for _ in range(self._taken):
                        next(batches)
            for batch in batches:
                self._taken += 1
                yield batch
            self._ended = True
        except (RuntimeError, OSError, EOFError) as error:
            # torch's message depends on what the process was doing. Often it only says that a connection was reset.
            died = [] if str(error).startswith("Caught ") else _died(batches)
            if not died:
                raise
            raise LoaderError(
                f"Processes that load data must keep running, but one ended with exit code {died[0]} (a negative code "
                "is a signal; -9 often means that memory ran out). Lower workers or batch_size, or set workers=0 to "
                "see the error in this process."
            ) from error

    @property
    def _stream(self) -> bool:
        return isinstance(self.dataset, IterableDataset) and not hasattr(self.dataset, "__len__")

    def state_dict(self) -> dict[str, int]:
        """The number of batches of the epoch that were taken."""
        if self._stream:
            return {"taken": 0 if self._ended else max(0, self._taken - 1)}
        return {"taken": self._taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next epoch after the batches that were taken; after a whole epoch, at its first batch."""
        self._skip = int(state["taken"]) if self._stream else int(state["taken"]) % max(1, len(self))


SOURCES = ("share", "train")
# Else held-out batches of the training data could be the very batches that are trained on. torch's generator on the
# host reads 32 bits of a seed.
OWN_ORDER = 0x5EED_5EED


class HeldOut:
    """Batches of held-out data; the seed, the step and the rank alone decide which samples a batch has.

    Every sample is drawn once before any is drawn again. Batches are loaded in this process, without workers.
    ``trained_on`` says that these are the training data themselves, in an order of their own: a batch shares some
    samples with the batch that is trained on, ``batch size / number of samples`` of them on average.
    """

    def __init__(self, dataset: Dataset[Any], batch_size: int, seed: int, trained_on: bool = False) -> None:
        self.dataset, self.seed, self.trained_on = dataset, seed, trained_on
        self.size = size_of(dataset, "Held-out data", "Return a dataset with __len__ and __getitem__ from hold_out().")
        require(self.size > 0, "Held-out data must have samples", "it has none", "Raise held_out.share.")
        self.batch_size = min(batch_size, self.size)

    def batch(self, step: int, rank: int = 0) -> Any:
        """The batch of optimiser step ``step``."""
        turn, place = divmod(step, self.size // self.batch_size)
        start = (self.seed * 1_000_003 + turn) * 65_537 + rank + OWN_ORDER * self.trained_on
        generator = torch.Generator().manual_seed(start % SEEDS)
        order = torch.randperm(self.size, generator=generator)
        chosen = order[place * self.batch_size :][: self.batch_size].tolist()
        return collated(self.dataset, chosen)


def check_source(source: str) -> None:
    """Raise unless ``source`` says where held-out batches come from."""
    check_known("source of held-out data", [source], SOURCES)


def _died(batches: Any) -> list[int]:
    """The exit codes of the processes that load ``batches`` and have ended with an error."""
    workers = getattr(batches, "_workers", ())
    for one in workers:
        # The connection closes a moment before the process ends.
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
    """A loader of ``dataset``, in the ``order`` of a sampler if one is given; its last batch may be smaller.

    If the dataset has a function ``collate``, it makes the batches. A stream (``IterableDataset``) is in charge of its
    own order, and of what each worker process gives.
    """
    if isinstance(dataset, IterableDataset):
        if order is not None:
            raise ConfigError(f"Data must have a length to be ordered, but {type(dataset).__name__} is a stream.")
    elif order is None and shuffle:
        order = EpochShuffle(size_of(dataset, "A loader", "Write __len__, or make it an IterableDataset."), seed)
    return EpochLoader(
        dataset,
        batch_size=batch_size,
        sampler=order,
        collate_fn=getattr(dataset, "collate", None),
        num_workers=workers,
        # Without its own generator a loader draws from the global one, which would change dropout's masks.
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=workers > 0,
    )

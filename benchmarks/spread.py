"""Spreads the runs of a benchmark over processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def spread(run: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """``run(*job)`` of each job, in their order, as soon as it is known; in this process, if there is one worker."""
    if workers == 1:
        yield from (run(*job) for job in jobs)
        return
    # torch's threads do not work in a forked process.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, *zip(*jobs, strict=True))

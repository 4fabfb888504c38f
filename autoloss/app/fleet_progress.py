"""Shows one progress bar for a fleet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from autoloss.training.fleet.training import FleetTraining


@contextmanager
def fleet_progress(training: FleetTraining, goals: Mapping[str, str]) -> Iterator[None]:
    """Within it finished epochs, the time left, members and the best first metric of ``goals`` are shown.

    Nothing is shown if the output is not a terminal.
    """
    members, epochs = len(training.jobs), training.plan.begun(training.batches.size)
    with tqdm(total=epochs, desc=f"{members} at once", unit="epoch", leave=False, disable=None) as bar:

        def show() -> None:
            bar.set_postfix_str(standing(training, goals), refresh=False)
            bar.update()

        training.each_epoch = show
        yield


def standing(training: FleetTraining, goals: Mapping[str, str]) -> str:
    """How many members are left, and the best metric so far.

    The metric is the first of ``goals``: what a search scores is known at the end of a trial.
    """
    found = f"{len(training.running)} of {len(training.jobs)} members"
    name, goal = next(iter(goals.items()), ("", ""))
    values = [of.metrics[name] for of in training.outcomes.values() if name in of.metrics]
    if not values:
        return found
    best = max(values) if goal == "max" else min(values)
    return f"{found}, best {name} {best:.3g}"

"""One progress bar for a whole search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optuna.study import Study
from optuna.trial import TrialState
from tqdm import tqdm

from autoloss.app.screen import say
from autoloss.core.io.text_table import number
from autoloss.search.budget import counted
from autoloss.training.lightning.callbacks.progress import one_bar


@contextmanager
def search_bar(study: Study, n_trials: int) -> Iterator[Callable[[str], None]]:
    """Within it a bar shows finished trials, the time left and the best score; gives what prints a line beside it.

    There is no bar if the output is not a terminal. Trials of all workers count, when this one prints a line.
    """
    begun = len(counted(study))
    bar: tqdm = tqdm(total=max(n_trials, begun), initial=begun, unit="trial", leave=False, disable=None)

    def says(line: str) -> None:
        say(line)
        if not bar.disable:
            trials = counted(study)
            scores = [t.user_attrs["score"] for t in trials if t.state == TrialState.COMPLETE]
            bar.n = min(len(trials), bar.total)
            bar.set_description(f"best {number(max(scores), '+.4f')}" if scores else "search")

    with bar, one_bar(bar):
        yield says

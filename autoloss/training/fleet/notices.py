"""What is wrong with a micro-batch, member by member: the errors and warnings of a run alone."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

from torch import Tensor

from autoloss.core.errors import AutolossError, EmptySelectionWarning, LabelError
from autoloss.training.fleet.forward import Forward
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.step.player import Player


def wrong_labels(forward: Forward) -> dict[int, AutolossError]:
    """The errors of members whose data break a rule of a loss."""
    found: dict[int, AutolossError] = {}
    for (term, rule), rows in forward.wrong.items():
        if bool((rows[:, 0] > 0).any()):
            for m, (wrong, value) in enumerate(rows.tolist()):
                if wrong:
                    what = f"loss {term!r} was given {value:g}" if term else f"one is {value:g}"
                    found.setdefault(m, LabelError(f"{rule}, but {what}."))
    return found


def warn_of_absent(forward: Forward, players: Sequence[Player], said: set[tuple[str, str]]) -> None:
    """Warn of a batch that has nothing for a loss; ``said`` are the remarks that were made before."""
    losses = forward.losses
    masked = [i for i, of in enumerate(losses.masked) if of]
    if masked and not bool(losses.present[:, masked].all()):
        for player, present in zip(players, losses.present, strict=True):
            player.nonfinite.note_absent(losses.masked, present)
    for key, empty in forward.empty.items():
        if key not in said and bool(empty.any()):
            said.add(key)
            about = f"Loss {key[0]!r}: " if key[0] else ""
            warnings.warn(about + key[1], EmptySelectionWarning, stacklevel=2)


def not_finite(
    weighed: StackedWeighed, players: Sequence[Player], scale: Tensor | None = None, but: Collection[int] = ()
) -> tuple[dict[int, AutolossError], set[int]]:
    """The errors of members whose losses, gradients or weights are not finite, or too small for their weighting.

    And the members whose batch is to be left out instead. ``scale`` is that of gradients that met in a fork: the losses
    were looked at before the backward. Nobody looks at the members ``but``.
    """
    found: dict[int, AutolossError] = {}
    left_out: set[int] = set()
    for m in weighed.suspects(players):
        if m in but:
            continue
        try:
            if scale is not None:
                players[m].nonfinite.met(weighed.of(m), scale, half=False)
            elif players[m].nonfinite.rejects(weighed.of(m)):
                left_out.add(m)
        except AutolossError as error:
            found[m] = error
    return found, left_out

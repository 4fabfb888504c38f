"""Records a turn of a GAN as one row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from autoloss.training.step.notes import Notes
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed


@contextmanager
def one_row(players: Iterable[Player], step: int) -> Iterator[None]:
    """A context that records one row for a turn: each player's last micro-batch, under the number ``step``.

    A turn has several steps of each player, which the players count for themselves; a record counts batches.
    """
    listeners = [(player, player.listener) for player in players]
    last: dict[Player, Weighed] = {}
    for player, listener in listeners:
        if listener is not None:
            player.listener = partial(_keep, last, player)
    try:
        yield
    finally:
        for player, listener in listeners:
            player.listener = listener
    for player, listener in listeners:
        if listener is not None and player in last:
            weighed = last[player]
            listener(replace(weighed, signals=replace(weighed.signals, step=step)), player.notes)


def _keep(last: dict[Player, Weighed], player: Player, weighed: Weighed, notes: Notes) -> None:
    last[player] = weighed

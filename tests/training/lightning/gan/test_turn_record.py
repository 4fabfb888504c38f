"""A turn of a GAN is one row: the last micro-batch of each player that had one."""

import torch

from autoloss.core.clock import Clock
from autoloss.core.registry.lookup import registry
from autoloss.core.table import LossTable
from autoloss.training.lightning.gan.turn_record import one_row
from autoloss.training.step.player import Player


def test_listeners_are_told_of_the_last_micro_batch_of_a_turn_as_that_of_its_step():
    players = [Player(["a"], registry.build("weighting", "equal")) for _ in range(3)]
    heard = []
    for name, player in zip("xy", players, strict=False):
        player.listener = lambda weighed, notes, name=name: heard.append(
            (name, weighed.clock.step, float(weighed.total), notes.take().scalars)
        )
    before = [player.listener for player in players]
    with one_row(players, step=40):
        for step in (7, 8):
            for player in (players[0], players[2]):
                player.notes.scalar("turn", step)
                player.step(LossTable({"a": torch.tensor(float(step))}), Clock(step))
        assert heard == []
    assert heard == [("x", 40, 8.0, {"turn": 8})]
    assert [player.listener for player in players] == before

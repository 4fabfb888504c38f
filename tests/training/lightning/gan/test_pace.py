"""How often the discriminator plays where it is ahead or behind."""

import csv

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.training.lightning.callbacks.record import RecordCallback
from autoloss.training.lightning.gan.pace import Pace


class TestPace:
    def test_a_discriminator_that_is_ahead_sits_out(self):
        pace = Pace(target=0.7, rate=0.5, every=4)
        plays = []
        for _ in range(400):
            mine, its = pace.turn()
            plays.append((mine, its))
            if its:
                pace.note(torch.ones(8), torch.zeros(8))
        assert pace.lead > 1
        late = plays[200:]
        assert all(mine for mine, _ in late)
        assert 0.04 < sum(its for _, its in late) / len(late) < 0.3

    def test_a_discriminator_that_is_behind_plays_alone_for_a_while(self):
        pace = Pace(target=0.7, rate=0.5, every=4)
        for _ in range(100):
            pace.turn()
            pace.note(torch.zeros(8), torch.ones(8))
        mine, its = zip(*(pace.turn() for _ in range(40)), strict=True)
        assert all(its)
        assert 1 <= sum(mine) < 10

    def test_it_settles_where_the_target_is(self):
        """An accuracy that falls as the discriminator plays less often ends at the target."""
        pace = Pace(target=0.7, rate=0.2, every=2)
        share = 1.0
        for _ in range(2000):
            _, its = pace.turn()
            share = 0.95 * share + 0.05 * its
            right = round(1000 * (0.5 + 0.45 * share))
            pace.note(torch.cat([torch.ones(right), torch.zeros(1000 - right)]), torch.full((1000,), 0.5))
        assert 0.5 + 0.45 * share == pytest.approx(0.7, abs=0.03)

    def test_at_the_target_both_play_always(self):
        pace = Pace(target=0.75, every=1)
        for _ in range(50):
            assert pace.turn() == (True, True)
            pace.note(torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.full((4,), 0.5))

    def test_in_a_training_it_changes_who_plays_and_is_recorded(self, play, tmp_path):
        module = play.module(pace=Pace(target=0.55, rate=5.0, every=2))
        play.fit(module, 4, callbacks=[RecordCallback(tmp_path, 1)])
        assert module.batches == 24
        assert {module.generator_player.steps_done, module.discriminator_player.steps_done} != {24}
        with (tmp_path / "trajectory.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert any(row["accuracy/discriminator"] for row in rows)

    @pytest.mark.parametrize(("key", "value"), [("target", 0.5), ("rate", 0), ("every", 0)])
    def test_bad_values(self, key, value):
        with pytest.raises(ConfigError, match=f"pace.{key} must"):
            Pace(**{key: value})

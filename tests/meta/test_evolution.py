"""Learning a rule by evolution."""

import csv
import json

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.meta.evolution import NUMBERS, RULE, Evolution
from autoloss.meta.worth import gains, worth
from autoloss.meta.zoo.families import LEARN, UNSEEN
from autoloss.weightings.auto import Auto


class Bowl(Evolution):
    """Candidates are worth more the nearer they are to a point, instead of being trained."""

    best = {"norm": 0.8, "loss": -0.2, "fall": 0.1}
    asked = 0

    def judge(self, candidates, seed, between=lambda: None):
        type(self).asked += 1
        return -torch.tensor([sum((one[name] - self.best[name]) ** 2 for name in one) for one in candidates])


@pytest.fixture(autouse=True)
def count():
    Bowl.asked = 0


def test_the_centre_moves_to_where_the_worth_is():
    *_, last = Bowl(generations=80, population=10).run()
    assert last.centre == pytest.approx(Bowl.best, abs=0.03)
    assert last.sigma < 0.2


def test_the_search_begins_at_the_start_values():
    first = next(Bowl(generations=1, population=40).run())
    for name, (start, step) in NUMBERS.items():
        mean = sum(one[name] for one in first.candidates) / 40
        assert abs(mean - start) < step


def test_a_seed_gives_the_same_rule():
    one, same, other = ([g.centre for g in Bowl(generations=5, seed=seed).run()] for seed in (1, 1, 2))
    assert one == same != other


def test_generations_that_are_known_are_not_judged_again():
    whole = list(Bowl(generations=6).run())
    Bowl.asked = 0
    rest = list(Bowl(generations=6, known=[of.worths for of in whole[:4]]).run())
    assert Bowl.asked == 2
    assert [of.centre for of in rest] == [of.centre for of in whole]


def test_what_is_learned_are_numbers_of_the_rule():
    rule = registry.build("weighting", RULE, **{name: start for name, (start, _) in NUMBERS.items()})
    assert isinstance(rule, Auto)


def test_every_family_has_its_turn_and_none_is_unseen():
    turns = [Evolution(turns=4, seed=3)._turn(number) for number in range(30)]
    assert {name for turn in turns for name in turn} == LEARN.keys()
    assert all(len(turn) == 4 for turn in turns)
    assert not LEARN.keys() & UNSEEN.keys()


def test_a_real_generation_judges_candidates_by_training_them():
    """Equal weights themselves are worth 0; the same candidate is worth the same twice."""
    evolution = Evolution(problems=1, turns=1, families={"bars": LEARN["bars"]}, chosen=("norm",))
    equal, half, again = evolution.judge([{"norm": 0.0}, {"norm": 0.5}, {"norm": 0.5}], 0).tolist()
    assert equal == pytest.approx(0, abs=1e-4)
    assert half == again != 0


def test_a_population_of_two_is_too_small():
    with pytest.raises(ConfigError, match="at least 4 candidates"):
        next(Bowl(population=2).run())


def test_gains_and_their_worth():
    """By hand: half the error in one metric, twice in the other; the mean is 0, and the second has its price."""
    found = gains(torch.tensor([[[0.5, 2.0]]]), torch.ones(1, 1, 2))
    torch.testing.assert_close(found, torch.tensor([[0.5, 2.0]]).log().neg())
    torch.testing.assert_close(worth(found), torch.tensor([-0.5]) * torch.tensor(2.0).log())


@pytest.mark.parametrize("seed", range(5))
def test_no_gain_is_worth_more_than_itself_and_better_is_worth_more(seed):
    found = torch.randn(20, 4, generator=torch.Generator().manual_seed(seed))
    assert (worth(found) <= found.mean(-1) + 1e-6).all()
    assert (worth(found.clamp(min=0)) >= worth(found)).all()
    assert worth(torch.zeros(4)) == 0


SMALL = ("meta", "meta.by=evolution", "meta.population=4", "meta.families=1", "meta.draws=1", "name=rule")


@pytest.mark.slow
def test_the_command_goes_on_where_it_ended(autoloss, tmp_path):
    done = autoloss(*SMALL, "meta.generations=1")
    assert done.returncode == 0, done.stderr + done.stdout
    directory = tmp_path / "outputs/meta/rule"
    before = json.loads((directory / "worths.json").read_text())
    done = autoloss(*SMALL, "meta.generations=2")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "1 generations were run before" in done.stdout
    assert json.loads((directory / "worths.json").read_text())[:1] == before
    rows = list(csv.DictReader((directory / "evolution.csv").read_text().splitlines()))
    assert [row["generation"] for row in rows] == ["1", "2"]
    assert set(NUMBERS) < set(rows[0])
    done = autoloss("train", f"load={directory / 'rule.yaml'}", "trainer.max_epochs=1", "threads=1", "name=run")
    assert done.returncode == 0, done.stderr
    config = json.loads(next((tmp_path / "outputs/train/run").glob("*/summary.json")).read_text())["config"]
    assert config["weighting"]["norm"] == pytest.approx(float(rows[-1]["norm"]), rel=0.01)
    done = autoloss(*SMALL, "seed=5")
    assert done.returncode == 2
    assert "must hold one learned rule" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["problems=[two_digits]"], "`problems` and `unseen` must be left out"),
        (["meta.population=3"], "meta.population must be a number of at least 4, but it is 3"),
        (["meta.by=luck"], "meta.by must be hypergradients or evolution, but it is 'luck'"),
    ],
)
def test_what_evolution_cannot_do(autoloss, more, message):
    done = autoloss(*SMALL, *more)
    assert done.returncode == 2
    assert message in done.stderr

"""Batches that are left out (on_nonfinite=skip): a member equals the same training alone."""

import pytest
import torch

from autoloss.core.need import OUTCOME
from autoloss.core.registry.lookup import registry
from autoloss.core.sample_order import EpochShuffle
from autoloss.core.surgery import Surgery
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.step.build import build_sample_weighting
from tests.training.fleet.equality import OPTIMIZERS, check, double  # noqa: F401 - a fixture
from tests.training.fleet.test_equals_alone import GIVEN
from tests.training.fleet.test_members import fleet_of
from tests.training.fleet.trainings import SAMPLES, Three, member, train_fleet

pytestmark = pytest.mark.usefixtures("double")


class Spiked(Three):
    """One sample has an infinite loss: in each epoch each member meets it in another batch. Member 0 begins with it."""

    def __init__(self, **options):
        super().__init__(**options)
        order = EpochShuffle(SAMPLES, 0)
        order.set_epoch(0)
        self.spike = float(self.datasets(0)["train"][next(iter(order))]["x"][1])

    def outputs(self, network, batch):
        found = super().outputs(network, batch)
        bad = (batch["x"][:, 1:2] - self.spike).abs() < 1e-12
        found.terms["size"].prediction.mul_(torch.where(bad, torch.inf, 1.0))
        return found


def weightings():
    for name in registry.names("weighting"):
        kind = registry.load("weighting", name)
        if isinstance(kind, type) and not kind(**GIVEN.get(name, {})).needs & OUTCOME:
            yield {"name": name, **GIVEN.get(name, {})}, issubclass(kind, Surgery)


def make(weighting, **options):
    return lambda problem, seed: member(problem, seed, weighting, on_nonfinite="skip", **options)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of[0]["name"])
def test_every_weighting(weighting):
    chosen, surgical = weighting
    fleet = check(make(chosen, fork="features" if surgical else ""), Spiked())
    assert [one.player.nonfinite.skipped for one in fleet.members] == [4] * 3  # one in each epoch
    assert fleet.optimizer.missed == [4] * 3
    assert not fleet.failed


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", [*OPTIMIZERS, "dampened"])
def test_every_optimizer(name, accumulate):
    """A window that is left out in part makes a step, and a member's first step may come later than that of others."""
    dampened = lambda of, seed: torch.optim.SGD(of, lr=0.01, momentum=0.5, dampening=0.5)  # noqa: E731
    chosen = OPTIMIZERS.get(name, dampened)
    options = {"accumulate": accumulate, "clip": Clip(norm=0.5)}
    fleet = check(make("gradnorm", optimizer=chosen), Spiked(normalised=True), **options)
    assert any(fleet.optimizer.missed) == (accumulate == 1)


@pytest.mark.parametrize("fork", ["features", "parameters"])
@pytest.mark.parametrize("names", [["gradnorm", "equal", "gradnorm"], ["dwa", "graddrop", "mgda"]])
def test_at_a_fork(names, fork):
    made = lambda problem, seed: make(names[seed], fork=fork)(problem, seed)  # noqa: E731
    check(made, Spiked(missing=True), accumulate=2)


def test_members_of_either_policy():
    policies = ["skip", "raise", "skip"]
    problem = Spiked()
    members = [member(problem, seed, "equal", on_nonfinite=policies[seed]) for seed in range(3)]
    fleet, _ = train_fleet(members, [problem.datasets(0)["train"]] * 3, epochs=1)
    assert list(fleet.failed) == [1]
    assert [one.player.nonfinite.skipped for one in members] == [1, 0, 1]


def test_what_cannot_be_one_says_why():
    for weighting, options in (("famo", {}), ("equal", {"sample_weighting": build_sample_weighting("super_loss")})):
        with pytest.raises(UnlikeError, match="learns from the others, but .* cannot in a fleet"):
            fleet_of(Three(), [weighting] * 2, on_nonfinite="skip", **options)

"""Operations that are written down and repeated give what the weighting gives."""

import pytest
import torch

from autoloss.core.clock import Clock
from autoloss.core.weighting import Weighting
from autoloss.training.fleet import repeated
from tests.training.fleet.equality import check, double  # noqa: F401 - a fixture
from tests.training.fleet.test_equals_alone import weightings
from tests.training.fleet.test_members import batches_of, fleet_of
from tests.training.fleet.test_samples import Numbered, followed, weighs
from tests.training.fleet.trainings import Three, assert_same, member, train_alone, train_with_leavers

pytestmark = pytest.mark.usefixtures("double", "soon")


@pytest.fixture
def soon(monkeypatch):
    """Operations are written down at the third call."""
    monkeypatch.setattr(repeated, "AFTER", 3)


def said(fleet):
    """Of each mapped party: whether its calls are repeated, and why they are not."""
    parties = [party for _, party in (*fleet.parties, *fleet.samples.parties) if party.mapped]
    return [(of.repeats, of.why) for party in parties for of in (party.asked, party.learnt)]


@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
@pytest.mark.parametrize("missing", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["whole", "missing"])
def test_every_weighting(weighting, missing):
    """It equals the one alone; either its operations are repeated, or it is said why not."""
    fleet = check(lambda problem, seed: member(problem, seed, weighting), Three(missing=missing), epochs=4)
    for asked, learnt in zip(said(fleet)[::2], said(fleet)[1::2], strict=True):
        assert asked[0] != bool(asked[1])
        assert not (learnt[0] and learnt[1])


def test_most_weightings_that_are_mapped_are_repeated():
    repeated_, called = [], {}
    for weighting in weightings():
        fleet = train(fleet_of(Three(), [weighting] * 2), epochs=2)
        for repeats, why in said(fleet)[:1]:
            repeated_ += [weighting["name"]] * repeats
            called |= {weighting["name"]: why} if why else {}
    assert len(repeated_) > 4 * len(called)
    assert {"equal", "auto", "uncertainty", "dwa", "gradnorm", "auto_lambda"} <= set(repeated_)
    # These decide by the step.
    assert {"vqgan", "relobralo"} <= set(called)


def train(fleet, epochs=7):
    batches, step = batches_of(Three(), len(fleet)), 0
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            fleet.micro_batch(batch, Clock(step, epoch, min(1.0, step / 21)))
            fleet.step()
            step += 1
    return fleet


@pytest.mark.parametrize("fork", ["features", "parameters"])
@pytest.mark.parametrize("weighting", ["equal", "auto", "uncertainty", "gradnorm", "famo"])
def test_at_forks(weighting, fork):
    fleet = check(
        lambda problem, seed: member(problem, seed, weighting, fork=fork), Three(missing=True), epochs=5, accumulate=2
    )
    assert any(repeats or why for repeats, why in said(fleet))


@pytest.mark.parametrize("node", list(followed()), ids=lambda node: node["name"])
def test_every_sample_weighting(node):
    fleet = check(lambda problem, seed: weighs(problem, seed, node), Numbered(missing=True), epochs=4)
    assert all(any(repeats or why for repeats, why in said(fleet)[i : i + 2]) for i in range(0, len(said(fleet)), 2))


def test_members_that_leave_and_weightings_that_differ():
    kinds = ["auto", "uncertainty", "auto", "dwa", "uncertainty", "auto"]
    fleet = fleet_of(Three(), kinds)
    train_with_leavers(fleet, batches_of(Three(), 6), [0, 4])
    alone = [member(Three(), seed, kinds[seed]) for seed in (1, 2, 3, 5)]
    for one, seed in zip(alone, (1, 2, 3, 5), strict=True):
        train_alone(one, Three().datasets(0)["train"], seed)
    assert_same(fleet.members, alone)
    assert any(repeats for repeats, _ in said(fleet))


class Odd(Weighting):
    """What cannot be repeated, in five ways."""

    def __init__(self, way):
        super().__init__()
        self.way, self.calls = way, 0

    def allocate(self, size):
        self.add_state("seen", torch.zeros(size), axes=1)

    def forward(self, signals):
        weights = torch.ones_like(signals.values)
        if self.way == "step" and signals.step >= 15:
            weights = 2 * weights
        if self.way == "hash":
            weights = weights * {0: 1.0}.get(signals.epoch, 3.0)
        if self.way == "random":
            weights = weights + 0 * torch.rand(())
        if self.way == "memory":
            weights = weights * (1 + (self.calls > 15))
        return weights + 0 * self.seen

    def update(self, signals):
        self.calls += self.way == "memory"
        self.seen.add_(int(signals.progress > 0.5) if self.way == "number" else 1)


@pytest.mark.parametrize("way", ["step", "hash", "random", "memory", "number", "none"])
def test_what_cannot_be_repeated_is_called(way):
    """Weights and states are those of a weighting that is called at each step."""
    fleets = []
    for after in (3, 1000):
        repeated.AFTER = after
        fleets.append(train(fleet_of(Three(), [Odd(way), Odd(way)])))
    assert torch.equal(fleets[0].weigher.last, fleets[1].weigher.last)
    for one, other in zip(*(of.members for of in fleets), strict=True):
        assert torch.equal(one.player.weighting.seen, other.player.weighting.seen)
        for p, q in zip(one.network.parameters(), other.network.parameters(), strict=True):
            assert torch.equal(p, q)
    asked, learnt = said(fleets[0])
    assert bool(asked[1]) == (way in ("step", "hash", "memory"))
    assert bool(learnt[1]) == (way in ("memory", "number"))


def test_calls_that_are_never_alike_are_not_remembered(monkeypatch):
    monkeypatch.setattr(repeated, "KEPT", 8)
    fleet = fleet_of(Three(), ["uncertainty"] * 2, base={"kind": "linear(1,2)"})
    train(fleet, epochs=20)
    assert [why for _, why in said(fleet)] == ["its calls are not alike"] * 2

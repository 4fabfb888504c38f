"""Members whose samples are weighed equal the same trainings alone."""

from dataclasses import replace

import pytest
import torch

from autoloss.core.registry.lookup import registry
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.problems._tensors import TensorTable
from autoloss.training.fleet.samples import NOT_FOLLOWED
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.step.build import build_sample_weighting
from tests.training.fleet.equality import check, double  # noqa: F401 - a fixture
from tests.training.fleet.trainings import MEMBERS, SAMPLES, Three, member, train_fleet

pytestmark = pytest.mark.usefixtures("double")
# Numbers with which a rule acts within the few epochs of a test.
GIVEN = {
    "self_paced": {"keep": 0.7, "burn_in": 1},
    "small_loss": {"rate": 0.4, "ramp": 2},
    "class_balanced": {"beta": 0.9},
    "group_dro": {"key": "group"},
}


class Numbered(Three):
    """With an index, a weight and a mark of each sample."""

    def datasets(self, seed):
        found = {}
        for split, table in super().datasets(seed).items():
            more = {"index": torch.arange(SAMPLES), "weight": torch.linspace(0, 2, SAMPLES)}
            more |= {"level": torch.linspace(0.1, 2, SAMPLES), "time": torch.linspace(0, 1, SAMPLES)}
            more |= {"group": torch.arange(SAMPLES) % 3}
            found[split] = TensorTable(**table.columns, **more)
        return found

    def outputs(self, network, batch):
        keys = {name: batch[name] for name in ("weight", "level", "time", "group")}
        keys |= {"corrupted": batch["weight"] > 1.5}
        return replace(super().outputs(network, batch), index=batch["index"], keys=keys)


def followed():
    for name in registry.names("sample_weighting"):
        kind = registry.load("sample_weighting", name)
        if not kind.needs & NOT_FOLLOWED and name != "uniform":
            yield {"name": name, **GIVEN.get(name, {}), **({"terms": ["kind"]} if name == "class_balanced" else {})}


def weighs(problem, seed, node, weighting="uncertainty", **options):
    rule = build_sample_weighting(node)
    return member(problem, seed, weighting, sample_weighting=rule, size=SAMPLES, **options)


@pytest.mark.parametrize("node", list(followed()), ids=lambda node: node["name"])
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_every_sample_weighting(node, missing):
    """Also its state, and what is recorded of it."""
    fleet = check(lambda problem, seed: weighs(problem, seed, node), Numbered(missing=missing))
    recorded = fleet.weighed.of(1).sampled
    assert {one.samples.term for one in recorded} <= set(Three.terms)
    for one in recorded:
        assert one.weights.shape == one.samples.losses.shape
        assert {"sample_used", "sample_weight_clean", "sample_weight_corrupted"} <= one.numbers().keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A batch should have samples with a weight above 0")
@pytest.mark.parametrize("node", list(followed()), ids=lambda node: node["name"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_sample_weighting_after_many_steps(node, accumulate):
    problem = Numbered(missing=True)
    check(lambda problem, seed: weighs(problem, seed, node, "gradnorm"), problem, accumulate=accumulate, epochs=17)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_numbers_that_differ_are_mapped_and_rules_that_differ_are_not_mixed(accumulate):
    fleet = check(
        lambda problem, seed: weighs(problem, seed, {"name": "super_loss", "lam": 0.5 + seed}),
        Numbered(),
        accumulate=accumulate,
    )
    assert [party.mapped for _, party in fleet.samples.parties] == [True]
    nodes = ["super_loss", "uniform", {"name": "percentile", "p": 0.5, "terms": ["size"]}]
    fleet = check(lambda problem, seed: weighs(problem, seed, nodes[seed]), Numbered(), accumulate=accumulate)
    assert [members for members, _ in fleet.samples.parties] == [[0], [2]]
    assert [len(fleet.weighed.of(m).sampled) for m in range(MEMBERS)] == [3, 0, 1]


def test_the_others_go_on_when_one_leaves():
    def made():
        return [weighs(problem, seed, {"name": "super_loss", "lam": 0.5 + seed}) for seed in range(MEMBERS)]

    problem = Numbered()
    data = problem.datasets(0)["train"]
    fleet, _ = train_fleet(made(), [data] * MEMBERS, epochs=1)
    fleet.drop([0])
    assert [members for members, _ in fleet.samples.parties] == [[0, 1]]
    batch = {name: of[:2, None].expand(2, 16, *of.shape[1:]) for name, of in data.columns.items()}
    fleet.micro_batch(batch, clock=fleet.weighed.layout.clock)
    # A rule that remembers what it computed keeps nothing of the mapping.
    assert all(rule._kept is None for one in fleet.members for rule in one.player.samples.rules)
    fleet.step()
    assert len(fleet.weighed.of(1).sampled) == 3


class OneByOne(SampleWeighting):
    """Reads its losses, which nothing that is mapped can do."""

    def allocate(self, size):
        self.add_state("seen", torch.zeros(()))

    def forward(self, samples):
        return samples.losses / max(float(samples.losses.max()), 1e-9)

    def update(self, samples):
        self.seen.add_(float(samples.losses.sum()))


def test_a_rule_that_cannot_be_mapped_is_called_member_by_member():
    fleet = check(lambda problem, seed: weighs(problem, seed, OneByOne()), Numbered())
    ((_, party),) = fleet.samples.parties
    assert not party.mapped
    assert ".item()" in party.why


class Nothing(SampleWeighting):
    def forward(self, samples):
        return torch.zeros_like(samples.losses)


def test_an_empty_selection_is_said_as_alone():
    with pytest.warns(UserWarning, match="left none for loss") as said:
        check(lambda problem, seed: weighs(problem, seed, Nothing()), Numbered(), epochs=1)
    assert len([one for one in said if "'size'" in str(one.message)]) == 2 * MEMBERS


@pytest.mark.parametrize("name", ["data_parameters", "reweight", "meta_weight_net"])
def test_what_a_fleet_does_not_measure_of_samples_says_so(name):
    problem = Numbered()
    made = [weighs(problem, seed, {"name": name, "terms": ["kind"]}) for seed in range(2)]
    with pytest.raises(UnlikeError, match=f"does not measure what each sample does, but '{name}'"):
        train_fleet(made, [problem.datasets(0)["train"]] * 2)


@pytest.mark.parametrize("weighting", ["famo", "auto_lambda", "learned"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_look_ahead_takes_the_weights_that_the_samples_had(weighting, accumulate):
    """Some members look ahead and some do not; a second forward asks no rule again."""
    names = [weighting, "uncertainty", weighting]
    check(
        lambda problem, seed: weighs(problem, seed, {"name": "super_loss"}, names[seed]),
        Numbered(missing=True),
        accumulate=accumulate,
    )

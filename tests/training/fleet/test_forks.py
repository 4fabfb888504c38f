"""A member whose gradients meet in a fork equals the same training alone."""

import pytest
import torch

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, NonFiniteError, SignalError
from autoloss.core.need import Need
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.stacked import UnlikeError
from tests.training.fleet.equality import check, double  # noqa: F401 - a fixture
from tests.training.fleet.test_equals_alone import GIVEN
from tests.training.fleet.test_members import batches_of, fleet_of
from tests.training.fleet.trainings import Three, member, train_fleet

pytestmark = pytest.mark.usefixtures("double")
FORKS = ("features", "parameters")


def weightings():
    """All that may stand at a fork: what learns from the derivative of a step needs weights that reach the heads."""
    for name in registry.names("weighting"):
        kind = registry.load("weighting", name)
        if isinstance(kind, type):
            made = kind(**GIVEN.get(name, {}))
            if not made.needs & (Need.ALIGNMENT | Need.KERNEL):
                yield {"name": name, **GIVEN.get(name, {})}


def surgeries():
    return [of["name"] for of in weightings() if issubclass(registry.load("weighting", of["name"]), Surgery)]


def make(weighting, fork, **options):
    return lambda problem, seed: member(problem, seed, weighting, fork=fork, **options)


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
def test_every_weighting(weighting, fork):
    check(make(weighting, fork), Three(missing=True))


@pytest.mark.slow
@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
def test_every_weighting_after_51_steps(weighting, fork):
    check(make(weighting, fork), Three(missing=True), epochs=17)


def test_surgeries_are_members():
    assert "graddrop" in surgeries()


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("weighting", ["equal", "gradnorm", "mgda", *surgeries()])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_windows_groups_base_weights_and_unbalanced_losses(weighting, fork, accumulate):
    """One member has a base weight of 0, whose gradient cannot be told from none; the problem's data differ."""

    def one(problem, seed):
        base = {"kind": 0.3 + seed, "size": "linear(0,1)" if seed == 1 else 0.7, "code": 0.1 * seed}
        groups = {"both": ["kind", "size"]} if accumulate == 2 else None
        chosen = {"name": weighting, "leak": 0.2 * seed} if weighting == "graddrop" else weighting
        return member(problem, seed, chosen, fork=fork, base=base, groups=groups, unbalanced=["code"])

    check(one, Three(missing=True), own_data=True, accumulate=accumulate, clip=Clip(norm=0.5))


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("names", [["gradnorm", "uncertainty", "graddrop"], ["graddrop", "mgda", "equal"]])
def test_weightings_that_differ(names, fork):
    """A loss that does not reach the fork keeps its base weight, for all."""
    fleet = check(lambda problem, seed: member(problem, seed, names[seed], fork=fork), Three(aside=True))
    assert [fleet.weighed.of(m).measured is not None for m in range(3)] == [
        name in ("gradnorm", "mgda") for name in names
    ]
    assert (fleet.weighed.weights[:, 2] == 1).all()


def test_wrapped_weightings_and_penalties():
    weighting = {"name": "gradnorm", "wrap": [{"every_n": {"n": 3}}, {"warmup": {"steps": 5}}]}
    check(make(weighting, "features", penalties={"sparsity": 0.1}))


def test_the_others_go_on_and_a_loss_that_is_not_finite_is_that_member_s_alone():
    problem = Three()
    fleet, batches = fleet_of(problem, ["graddrop", "gradnorm", "equal"], fork="features"), batches_of(problem, 3)
    first, second = list(batches.epoch(0))[:2]
    with torch.no_grad():
        fleet.stacked.parameters["network.size.bias"][1].fill_(float("inf"))
    fleet.micro_batch(first, Clock())
    fleet.step()
    assert list(fleet.failed) == [1]
    assert isinstance(fleet.failed[1], NonFiniteError)
    assert "'size' is inf" in str(fleet.failed[1])
    fleet.drop([1])
    assert all(of.isfinite().all() for of in fleet.stacked.parameters.values())
    fleet.micro_batch({name: of[[0, 2]] for name, of in second.items()}, Clock(1))
    fleet.step()
    assert not fleet.failed


def test_a_gradient_that_is_not_finite_is_that_member_s_alone():
    class Steep(Three):
        """The slope of one loss is infinite where the bias is 0, and the loss is 0."""

        def outputs(self, network, batch):
            found = super().outputs(network, batch)
            code = found.terms["code"]
            flat = (code.values.detach() * 0 + network["size"].bias[1].detach().abs()) * 1.0
            found.terms["code"] = type(code)(((code.values - code.values.detach()) + flat).sqrt())
            return found

    problem = Steep()
    fleet, batches = fleet_of(problem, ["gradnorm"] * 3, fork="features"), batches_of(problem, 3)
    with torch.no_grad():
        fleet.stacked.parameters["network.size.bias"][2].fill_(0.0)
    fleet.micro_batch(next(batches.epoch(0)), Clock())
    assert list(fleet.failed) == [2]
    assert "gradient at the anchor must be finite" in str(fleet.failed[2])
    assert "on_nonfinite" not in str(fleet.failed[2])


def test_what_cannot_be_one_says_why():
    class Whole(Three):
        def outputs(self, network, batch):
            found = super().outputs(network, batch)
            return type(found)(found.terms, anchor=network["trunk"](batch["x"]))

    class Swapped(Three):
        def branch(self, features):
            copies, anchor = super().branch(features)
            return {**copies, "kind": copies["size"]}, anchor

    data = [Three().datasets(0)["train"]] * 2
    with pytest.raises(UnlikeError, match="must meet in one place"):
        train_fleet([member(Three(), seed, "equal", fork="features" if seed else "") for seed in range(2)], data)
    with pytest.raises(UnlikeError, match="'graddrop' combines gradients where they meet, in a fork"):
        train_fleet([member(Three(), seed, "graddrop") for seed in range(2)], data)
    with pytest.raises(ConfigError, match=r"from its own copy of the features, but 'Whole' does not"):
        train_fleet([member(Whole(), seed, "equal", fork="features") for seed in range(2)], data)
    with pytest.raises(SignalError, match="'kind' is computed from the copy of 'size'"):
        train_fleet([member(Swapped(), seed, "equal", fork="features") for seed in range(2)], data)

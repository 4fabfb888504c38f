"""A member of a fleet equals the same training alone."""

import pytest
import torch

from autoloss.core.errors import SignalError
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery
from autoloss.training.fleet.batches import StackedBatches
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.own_optimizers import OwnOptimizers
from autoloss.training.fleet.stacked import UnlikeError
from tests.training.fleet.equality import OPTIMIZERS, check, double  # noqa: F401 - a fixture
from tests.training.fleet.trainings import (
    BATCH,
    MEMBERS,
    Three,
    assert_same,
    member,
    train_alone,
    train_fleet,
    train_with_leavers,
)

pytestmark = pytest.mark.usefixtures("double")
GIVEN = {
    "gradient_cosine": {"main": "kind"},
    "ol_aux": {"main": "kind"},
    "vqgan": {"adversarial": "code"},
    "scheduled": {"schedules": {"code": "linear(0,1)"}},
}

KERNELS = {"name": "ntk", "every": 2}  # measured at every second step


def weightings():
    for name in registry.names("weighting"):
        kind = registry.load("weighting", name)
        if isinstance(kind, type) and not issubclass(kind, Surgery):
            yield {"name": name, **GIVEN.get(name, {})}


@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_every_weighting(weighting, missing):
    check(lambda problem, seed: member(problem, seed, weighting), Three(missing=missing))


@pytest.mark.slow
@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
def test_every_weighting_after_51_steps(weighting, missing):
    check(lambda problem, seed: member(problem, seed, weighting), Three(missing=missing), epochs=17)


@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "gradnorm", "balancer", "mgda", "rlw", KERNELS], ids=str)
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("parameters", [False, True], ids=["features", "parameters"])
def test_windows_and_places(weighting, accumulate, parameters):
    """The last window of an epoch is shorter, and so is its last batch."""
    problem = Three(missing=True, parameters=parameters)
    check(lambda problem, seed: member(problem, seed, weighting), problem, accumulate=accumulate)


@pytest.mark.parametrize("mixed", [False, True])
def test_without_an_anchor(mixed):
    """What compares gradients where it can follows values; one that cannot do without is an error as alone."""
    problem = Three(anchored=False)
    names = ["auto", "dwa", "auto"] if mixed else ["auto"] * MEMBERS
    fleet = check(lambda problem, seed: member(problem, seed, names[seed]), problem)
    assert (fleet.members[0].player.weighting.compared == 0).all()
    with pytest.raises(SignalError, match="'gradnorm' needs gradients at an anchor"):
        check(lambda problem, seed: member(problem, seed, "auto" if seed else "gradnorm"), problem)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    check(lambda problem, seed: member(problem, seed, "uncertainty", OPTIMIZERS[name]), Three(normalised=True))


def grouped(of, seed):
    heads, trunk = of[2:], of[:2]
    return torch.optim.AdamW([{"params": heads, "lr": 0.02}, {"params": trunk, "weight_decay": 0.1 * seed}], lr=0.01)


OTHERS = {
    "rmsprop": lambda of, seed: torch.optim.RMSprop(of, lr=0.01 * (1 + seed), momentum=0.5),
    "nadam": lambda of, seed: torch.optim.NAdam(of, lr=0.01, weight_decay=0.1 * seed),
    "amsgrad": lambda of, seed: torch.optim.Adam(of, lr=0.01 * (1 + seed), amsgrad=bool(seed)),
    "groups": grouped,
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", OTHERS)
def test_other_optimizers_are_called_one_by_one(name, accumulate):
    fleet = check(
        lambda problem, seed: member(problem, seed + (name == "amsgrad"), "gradnorm", OTHERS[name]),
        Three(normalised=True),
        accumulate=accumulate,
        clip=Clip(norm=0.5),
    )
    assert type(fleet.optimizer) is OwnOptimizers


def test_other_optimizers_go_on_when_members_leave():
    problem = Three()
    data, made = problem.datasets(0)["train"], [member(problem, seed, "equal", OTHERS["rmsprop"]) for seed in range(3)]
    fleet = Fleet(made)
    train_with_leavers(fleet, StackedBatches([data] * 3, range(3), BATCH), [0])
    alone = [member(problem, seed, "equal", OTHERS["rmsprop"]) for seed in (1, 2)]
    for seed, one in enumerate(alone, 1):
        train_alone(one, data, seed)
    assert_same(fleet.members, alone)


@pytest.mark.parametrize("clip", [Clip(norm=0.5), Clip(value=0.05)], ids=["norm", "value"])
def test_a_clipped_gradient(clip):
    check(lambda problem, seed: member(problem, seed, "gradnorm"), clip=clip)


def test_schedules_of_the_learning_rate():
    def schedule(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=51)

    check(lambda problem, seed: member(problem, seed, "equal", scheduler=schedule))


def test_numbers_that_differ():
    """The numbers of weightings and losses, base weights, groups, and data."""

    def make(problem, seed):
        return member(
            problem,
            seed,
            {"name": "gradnorm", "alpha": 0.5 + seed},
            losses={"kind": {"name": "focal", "gamma": 1.0 + seed}},
            base={"kind": 1.0 + seed, "size": "linear(0.5,1)" if seed else 0.7, "both": 0.5 + seed},
            groups={"both": ["kind", "code"]},
        )

    fleet = check(make, own_data=True)
    assert [party.mapped for _, party in fleet.parties] == [True]


def test_a_schedule_of_a_loss():
    losses = {"kind": {"name": "focal", "gamma": "linear(0,2)"}}
    check(lambda problem, seed: member(problem, seed, "equal", losses=losses))


def test_weightings_that_differ():
    names = ["gradnorm", "uncertainty", "mgda"]
    fleet = check(lambda problem, seed: member(problem, seed, names[seed]))
    assert sorted(len(members) for members, _ in fleet.parties) == [1, 1, 1]


@pytest.mark.parametrize("names", [["gradnorm", "uncertainty", "relobralo"], ["dwa", "mgda", "equal"]])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_weighting_does_not_see_the_gradients_that_another_needs(names, accumulate):
    """A loss that does not reach the anchor keeps its base weight where gradients are compared, and nowhere else."""
    problem = Three(aside=True)
    fleet = check(lambda problem, seed: member(problem, seed, names[seed]), problem, accumulate=accumulate)
    compares = [fleet.weighed.of(m).measured is not None for m in range(3)]
    assert compares == [name in ("gradnorm", "mgda") for name in names]


def test_losses_that_are_not_balanced():
    check(lambda problem, seed: member(problem, seed, "gradnorm", unbalanced=["code"], base={"code": 0.1}))


def test_wrapped_weightings():
    weighting = {"name": "gradnorm", "wrap": [{"every_n": {"n": 3}}, {"warmup": {"steps": 5}}]}
    check(lambda problem, seed: member(problem, seed, weighting))


def test_what_cannot_be_one_says_why():
    problem = Three()
    for make, says in (
        (
            lambda seed: member(
                problem, seed, {"name": "scheduled", "by": "plateau", "schedules": {"code": "step(1,0.1,2)"}}
            ),
            "follows plateaus",
        ),
        (lambda seed: member(problem, seed, "famo", on_nonfinite="skip"), "on_nonfinite=skip"),
        (lambda seed: member(problem, seed, "equal", lambda of, s: torch.optim.LBFGS(of)), "one step for each batch"),
        (lambda seed: member(problem, seed, "learned", lambda of, s: torch.optim.RMSprop(of)), "SGD, Adam or AdamW"),
        (
            lambda seed: member(problem, seed, "equal", lambda of, s: torch.optim.NAdam(of), on_nonfinite="skip"),
            "on_nonfinite=skip must be trained by SGD, Adam or AdamW",
        ),
        (
            lambda seed: member(
                problem, seed, "equal", lambda of, s: (torch.optim.NAdam if seed else torch.optim.Adagrad)(of)
            ),
            "one kind of optimiser",
        ),
        (lambda seed: member(problem, seed, "equal", losses={"kind": "focal"} if seed else None), "differ in numbers"),
        (lambda seed: member(problem, seed, "equal", groups={"g": ["kind"]} if seed else None), "losses and groups"),
    ):
        with pytest.raises(UnlikeError, match=says):
            train_fleet([make(0), make(1)], [problem.datasets(0)["train"]] * 2)


@pytest.mark.slow
@pytest.mark.parametrize("weighting", list(weightings()), ids=lambda of: of["name"])
def test_every_weighting_in_wrappers_whose_numbers_differ_on_groups(weighting):
    def make(problem, seed):
        wrap = [{"every_n": {"n": 1 + seed}}, {"ema": {"decay": 0.1 + 0.2 * seed}}]
        base = {"kind": 0.5 + seed, "size": 1.0 + seed}
        return member(problem, seed, {**weighting, "wrap": wrap}, groups={"kind": ["kind", "size"]}, base=base)

    # A solver makes more of the last bit of a float32 Gram matrix.
    check(make, Three(missing=True), accumulate=2, tolerance=1e-8)

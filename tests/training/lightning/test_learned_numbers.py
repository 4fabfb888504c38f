"""Numbers of losses that are learned in runs of the command line's kind: resumed, recorded, and refused."""

import csv
from types import SimpleNamespace

import pytest
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn

from autoloss.app.fleet_groups import obstacle
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train
from autoloss.core.errors import ConfigError
from autoloss.core.loss import Loss
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.mse import Mse
from tests.training.lightning.resumed import equals_uninterrupted
from tests.training.lightning.test_multitask import Noisy, config, problem

HUBER = {"name": "huber", "delta": "learned(1,0.1,3,0.3)"}


class Judged(Noisy):
    """The problem with a judge of its own."""

    judges = {"value": {"name": "huber", "delta": 0.5}}


class Stiff(Loss):
    """An error with a threshold that torch takes as a number alone."""

    def __init__(self, power: float = 1.0):
        super().__init__()
        self.power = power

    def forward(self, prediction, target):
        return nn.functional.huber_loss(prediction, target, reduction="none", delta=self.power)[:, 0]


def settings(losses=None, weighting="equal", **more):
    made = {**config(weighting, epochs=4, problem=problem()), "losses": losses or {"value": HUBER}}
    return {**made, **more}


def rows(directory):
    with (directory / "trajectory.csv").open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("weighting", ["equal", "auto_lambda"])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, weighting):
    whole = equals_uninterrupted(settings(weighting=weighting, held_out={"objective": "sum"}), tmp_path)
    deltas = [float(row["loss_number/value.delta"]) for row in rows(whole)]
    assert deltas[0] == 1.0
    # Beside weights, numbers learn from few steps.
    assert len(set(deltas)) > 2
    assert (len(set(deltas)) == len(deltas)) == (weighting == "equal")
    assert all(0.1 < delta < 3 for delta in deltas)


def test_held_out_data_is_judged_by_the_problems_own_loss_or_by_the_one_that_is_named():
    module = prepare(settings()).module(held_out=object())
    assert isinstance(module.judges["value"], Mse)
    assert module.losses["value"].delta is not None
    named = prepare(settings(held_out={"losses": {"value": "log_cosh"}})).module(held_out=object())
    assert named.judges["value"].title() == "log_cosh"
    with pytest.raises(ConfigError, match="held_out.losses.value must have fixed numbers"):
        prepare(settings(held_out={"losses": {"value": HUBER}}))
    plain = prepare(settings({"value": "mae"}, "auto_lambda")).module(held_out=object())
    assert plain.judges["value"] is plain.losses["value"]


def test_a_problem_may_name_another_judge_for_learned_numbers():
    judged = {"problem": {"name": f"{__name__}:Judged"}}
    module = prepare({**settings(), **judged}).module(held_out=object())
    assert float(module.judges["value"].delta) == 0.5
    plain = prepare({**settings({"value": "mae"}, "auto_lambda"), **judged}).module(held_out=object())
    assert plain.judges["value"] is plain.losses["value"]
    named = prepare({**settings(held_out={"losses": {"value": "log_cosh"}}), **judged}).module(held_out=object())
    assert named.judges["value"].title() == "log_cosh"


def test_the_objective_that_is_named_is_that_which_the_numbers_follow(tmp_path):
    ends = set()
    for loss in ("mse", "mae"):
        train(settings(held_out={"losses": {"value": loss}}), tmp_path / loss)
        ends.add(rows(tmp_path / loss)[-1]["loss_number/value.delta"])
    assert len(ends) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"losses": {"value": {"name": "huber", "delta": "learned(5,0,3)"}}}, "must lie in its range, but it is 5"),
        ({"held_out": {"share": 0.0}}, "held_out.share must lie between 0 and 1"),
        ({"anchor": "parameters"}, "Learned number value.delta needs weights that reach the heads"),
        ({"optimizer": {"_target_": "torch.optim.Adadelta", "lr": 0.1}}, "step it can differentiate"),
        ({"held_out": {"losses": {"valu": "mse"}}}, "valu"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(more, message):
    with pytest.raises(ConfigError, match=message):
        prepare(settings(**more))


def test_sharded_parameters_are_an_error_before_the_first_step():
    module = prepare(settings()).module(held_out=object())
    module.trainer = SimpleNamespace(strategy=FSDPStrategy.__new__(FSDPStrategy))
    with pytest.raises(ConfigError, match=r"Learned number value.delta needs whole parameters, but FSDPStrategy"):
        module.on_fit_start()


def test_a_number_without_a_derivative_is_an_error_before_the_first_step(tmp_path, monkeypatch):
    smoothed = CrossEntropy.forward
    fixed = CrossEntropy(0.1)
    monkeypatch.setattr(CrossEntropy, "forward", lambda self, z, t: smoothed(fixed, z, t))
    losses = {"left": {"name": "cross_entropy", "label_smoothing": "learned"}}
    with pytest.raises(ConfigError, match="not with respect to left.label_smoothing"):
        train({**config("equal", epochs=1), "losses": losses}, tmp_path)
    assert not (tmp_path / "trajectory.csv").exists()


def test_a_loss_that_takes_no_tensor_is_an_error_before_the_first_step(tmp_path):
    given = settings({"value": {"name": f"{__name__}:Stiff", "power": "learned(1,0,2)"}})
    with pytest.raises(ConfigError, match=r"with respect to value.power \(huber_loss.*\). Set losses.value.power"):
        train(given, tmp_path)


def test_runs_with_learned_numbers_are_trained_alone():
    whole = prepare(settings()).config
    assert obstacle(whole) == "losses.value.delta"
    assert obstacle(prepare(settings({"value": {"name": "huber", "delta": 1.0}})).config) == ""
    combined = {"value": {"name": "combined", "losses": ["mse", {"huber": {"delta": "learned"}}]}}
    assert obstacle(prepare(settings(combined)).config).startswith("losses.value")

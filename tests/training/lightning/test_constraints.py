"""Bounds in runs of the command line's kind: resumed, with accumulation, and beside a fleet."""

import pytest

from autoloss.app.composition import composed
from autoloss.app.fleet_groups import obstacle
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train
from autoloss.core.errors import ConfigError
from tests.training.lightning.resumed import checkpoint_of, equals_uninterrupted
from tests.training.lightning.test_multitask import config, problem

BOUNDS = {"value": {"max": 0.5}, "error": {"max": 0.1, "loss": "ready"}, "ready": {"min": 0.2}}


def settings(bounds=BOUNDS, weighting="uncertainty", **trainer):
    made = config(weighting, epochs=4, problem=problem(), **trainer)
    return {**made, "losses": {"value": "mse"}, "constraints": bounds}


@pytest.mark.parametrize("accumulated", [1, 2])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, accumulated):
    whole = equals_uninterrupted(settings(accumulate_grad_batches=accumulated), tmp_path)
    moved = checkpoint_of(whole)["state_dict"]["player.constraints.integral"]
    assert (moved[:2] > 0).all()


def test_the_network_moves_towards_the_bound(tmp_path):
    free = train(settings({}, "equal"), tmp_path / "free")
    bound = train(settings({"ready": {"max": 0.05, "rate": 0.3}}, "equal"), tmp_path / "bound")
    assert bound["constraints"]["ready.max"]["multiplier"] > 1
    assert "constraints" not in free
    assert bound["final_weights"]["ready"] > free["final_weights"]["ready"]


def test_a_fleet_leaves_runs_with_bounds_alone():
    given = ["problem=two_digits", "trainer.accelerator=cpu"]
    assert obstacle(composed("train", given)) == ""
    assert obstacle(composed("train", ["++constraints.left.max=1", *given])) == "constraints"


def test_a_module_that_forgets_the_bounds_is_refused(monkeypatch):
    ready = prepare(settings())
    monkeypatch.setattr(type(ready.ingredients), "constraints", property(lambda self: {"value": {"max": 1.0}}))
    build = type(ready.builder).build

    def forgetful(self, run):
        made = build(self, run)
        made.player.constraints = None
        return made

    monkeypatch.setattr(type(ready.builder), "build", forgetful)
    with pytest.raises(ConfigError, match="`constraints` need a module that gives them to its player, but 'multitask'"):
        ready.module()


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        prepare(settings({"valve": {"max": 1}, "error": {"max": 1}}))
    assert "No loss or metric is called 'valve'" in str(caught.value)
    assert "constraints.error.loss names none" in str(caught.value)

"""Every registered module against the public suite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.problems._tensors import TensorTable
from autoloss.testing import ModuleSuite
from autoloss.training.lightning.modules.curriculum import Curriculum
from autoloss.training.lightning.modules.gan import Gan
from autoloss.training.lightning.modules.multitask import Multitask
from tests.training.lightning.gan.conftest import Points

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec", "ignore:.*`training_step` returned `None`")


class Line(Problem):
    """Predicts a number and its sign; the larger the number, the harder."""

    terms = {"value": "mse", "sign": "binary_cross_entropy"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        y = x.sum(1, keepdim=True)
        table = TensorTable(x=x, y=y, hard=y.abs().flatten())
        return {"train": table, "val": table}

    def network(self):
        return nn.ModuleDict({"trunk": nn.Linear(3, 8), "value": nn.Linear(8, 1), "sign": nn.Linear(8, 1)})

    def outputs(self, network, batch):
        features = network["trunk"](batch["x"]).tanh()
        sign = Term(network["sign"](features), (batch["y"] > 0).float())
        return Outputs({"value": Term(network["value"](features), batch["y"]), "sign": sign}, features)

    def measure(self, outputs):
        term = outputs.term("value")
        return {"error": (term.prediction - term.target).abs().flatten()}


class TestMultitask(ModuleSuite):
    builder = Multitask
    problem = Line
    wrong_problem = Points


class TestCurriculum(ModuleSuite):
    problem = Line
    wrong_problem = Points

    def builder(self):
        return Curriculum(pacing="linear(0.5,0.5)", difficulty="hard")


class TestGan(ModuleSuite):
    builder = Gan
    problem = Points
    wrong_problem = Line
    config = {
        "generator": {"steps": 1, "accumulate": 1, "clip": None, "average": 0.9},
        "discriminator": {
            **{"weighting": "uncertainty", "sample_weighting": "uniform", "optimizer": {}},
            **{"losses": {}, "base": {}, "groups": {}, "unbalanced": [], "steps": 1, "accumulate": 1, "clip": None},
        },
        "pace": {"target": None, "rate": 0.5, "every": 16},
    }


def test_every_module_of_the_package_is_here():
    mine = {"multitask", "curriculum", "gan"}
    assert {one.name for one in registry.listings["module"] if one.origin == ORIGIN} == mine


class Broken(Multitask):
    """Trains nothing."""

    use = "Tests."

    def build(self, run):
        module = super().build(run)
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.0)
        return module


class Forgetful(Multitask):
    """Starts anew when it resumes."""

    use = "Tests."

    def build(self, run):
        module = super().build(run)
        module.on_load_checkpoint = lambda checkpoint: checkpoint["state_dict"].update(module.state_dict())
        return module


class Lenient(Multitask):
    """Takes any problem."""

    def check(self, run, attempt):
        pass


def _suite(builder_of):
    class Suite(ModuleSuite):
        builder = builder_of
        problem = Line
        wrong_problem = Points

    return Suite()


def test_the_suite_finds_a_module_that_trains_nothing(tmp_path):
    with pytest.raises(AssertionError, match="Training must change parameters"):
        _suite(Broken).test_trains_records_and_measures(tmp_path)


def test_the_suite_finds_a_module_that_forgets(tmp_path):
    with pytest.raises(AssertionError, match="A resumed run must end with the same parameters"):
        _suite(Forgetful).test_a_resumed_run_goes_on_bit_for_bit(tmp_path)


def test_the_suite_finds_a_module_that_takes_any_problem():
    with pytest.raises(AssertionError, match="must raise a ConfigError for wrong_problem"):
        _suite(Lenient).test_refuses_a_wrong_problem_with_a_sentence()
    bare = _suite(type("Bare", (Lenient,), {"use": ""}))
    with pytest.raises(AssertionError, match="`use` must say"):
        bare.test_the_card_says_when_to_use_it()

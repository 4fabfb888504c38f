"""One rule over problems of unlike size, tried on another, by the real command."""

import json

import pytest
import torch

FILE = '''
import torch
from torch import nn
from torch.utils.data import TensorDataset

from autoloss import Outputs, Problem, Term


class Two(Problem):
    """The sum and the sign of three numbers."""

    terms = {"sum": "mse", "sign": "binary_cross_entropy"}
    metrics = {"sum_error": "min"}
    recipe = {"optimizer": {"lr": 0.01}, "batch_size": 64, "threads": 1}

    def datasets(self, seed):
        x = torch.randn(320, 3, generator=torch.Generator().manual_seed(0))
        return {"train": TensorDataset(x[:192]), "val": TensorDataset(x[192:256]), "test": TensorDataset(x[256:])}

    def network(self):
        return nn.ModuleDict({"trunk": nn.Linear(3, 16), "sum": nn.Linear(16, 1), "sign": nn.Linear(16, 1)})

    def outputs(self, network, batch):
        (x,) = batch
        features, total = network["trunk"](x).relu(), x.sum(1, keepdim=True)
        terms = {
            "sum": Term(network["sum"](features), total),
            "sign": Term(network["sign"](features), (total > 0).float()),
        }
        return Outputs({name: terms[name] for name in self.terms if name in terms}, anchor=features)

    def measure(self, outputs):
        term = outputs.term("sum")
        return {"sum_error": (term.prediction - term.target).abs().mean(1)}


class One(Two):
    """The sum alone."""

    terms = {"sum": "mse"}
'''


@pytest.mark.slow
def test_a_rule_is_learned_over_problems_and_tried_on_another(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    command = ("meta", "problems=[mine:One,mine:Two]", "unseen=two_digits", "name=rule", "trainer.max_epochs=2")
    short = ("meta.rounds=1", "meta.seeds=2", "threads=1")
    done = autoloss(*command, *short)
    assert done.returncode == 0, done.stderr + done.stdout
    directory = tmp_path / "outputs/meta/rule"
    rounds = sorted((directory / "rounds").iterdir())
    assert len(rounds) == 2
    loads = [json.loads((place / "config.json").read_text())["weighting"]["load"] for place in rounds]
    assert loads[0] is None
    assert loads[1].endswith(rounds[0].name)
    rule = torch.load(directory / "weighting.pt", weights_only=True)["rule"]
    frozen = torch.load(directory / "unseen/the_rule_frozen/seed_1/weighting.pt", weights_only=True)["rule"]
    assert torch.equal(rule, frozen)
    table = (directory / "leaderboard.md").read_text()
    for label in ("equal", "the rule, frozen", "a rule from scratch"):
        assert label in table
    again = autoloss(*command, *short)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before, skipped") == 8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("meta", "A rule must be learned on problems, but there are none"),
        ("meta problems=[two_digits,two_digits]", "Problems must be distinct"),
        ("meta problems=[two_digits] unseen=two_digits", "The unseen problem must not be learned on"),
        ("meta problems=[two_digits] weighting=equal", "A rule must be learned by weighting=learned, but it is equal"),
        ("meta problems=[two_digits] meta.rounds=0", "meta.rounds must be at least 1, but it is 0"),
        ("meta problems=[two_digits] held_out.share=0", "two_digits: held_out.share must lie between 0 and 1"),
    ],
)
def test_mistakes_are_named_before_anything_trains(mistaken, arguments, says):
    code, _, err = mistaken(arguments)
    assert code == 2
    assert says in err

"""``autoloss.search`` for a person's own function."""

import json

import pytest
import torch

import autoloss
import autoloss.report
from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.space import Interval


def run(trial):
    """Fits one number to two targets that pull at it unequally; what is wanted is the second."""
    x = torch.zeros(1, requires_grad=True)
    noise = (1.01 if trial.test else 1) + 0.02 * torch.randn(1).item()
    for step in range(5):
        losses = {"near": (x - 1).square().sum(), "far": (x - 3).square().sum()}
        trial.balancer(losses).backward()
        with torch.no_grad():
            x -= trial.parameters.get("lr", 0.2) * x.grad
        x.grad = None
        trial.report(step, {"distance": abs(x.item() - 3)})
    return {"distance": abs(x.item() - 3) * noise}


def search(directory, function=run, **more):
    options = {"n_trials": 8, "weightings": ["fixed", "dwa"], "confirm_best": 1, "confirm_seeds": 4, **more}
    return autoloss.search(
        function, ["near", "far"], {"distance": "min"}, directory=directory, **{"says": lambda line: None, **options}
    )


def test_it_finds_what_helps_and_says_so(tmp_path):
    outcome = search(tmp_path)
    assert outcome.best.weighting["name"] == "fixed"
    assert outcome.best.weighting["weights"]["far"] > 1
    assert outcome.verdict[-1].endswith("on test data: better.")
    assert "equal" in (tmp_path / "leaderboard.md").read_text()
    assert (tmp_path / "leaderboard.csv").read_text().count("complete") == 8
    # Files carry the version that wrote them.
    assert json.loads((tmp_path / "search.json").read_text())["version"] == autoloss.__version__
    assert outcome.study.user_attrs["version"] == autoloss.__version__
    assert f"`autoloss search` {autoloss.__version__};" in outcome.best_yaml([]).splitlines()[0]


def test_a_function_that_knows_no_test_data_is_confirmed_on_validation_data(tmp_path):
    def without(trial):
        loss = (trial.balancer.weights["far"] - 1.5) ** 2 + 0.01 * torch.randn(1).item()
        return {"distance": abs(loss)}

    outcome = search(tmp_path, without, n_trials=3)
    assert {one.split for one in outcome.confirmed} == {"validation"}
    for text in (outcome.text(), outcome.markdown()):
        assert "on test data" not in text
        assert "the problem has no test split" in text
    assert '"split": "validation"' in (tmp_path / "search.json").read_text()


def test_called_again_it_goes_on_and_says_so(tmp_path):
    lines, calls = [], []

    def counting(trial):
        calls.append(trial.seed)
        return run(trial)

    search(tmp_path, counting, n_trials=3, confirm_best=0)
    search(tmp_path, counting, n_trials=5, confirm_best=0, says=lines.append)
    assert lines[0] == "3 finished, 2 to go"
    assert calls == [0] * 5


def test_other_keys_and_pruning(tmp_path):
    outcome = search(tmp_path, space={"lr": Interval(1e-4, 0.4)}, n_trials=20, pruner="median", confirm_best=0)
    assert any(t.state.name == "PRUNED" for t in outcome.study.trials)
    assert outcome.best.keys["lr"] > 0.05


@pytest.mark.parametrize(
    ("more", "says", "kind"),
    [
        ({"objectives": ["speed"]}, "there is no metric 'speed'", ConfigError),
        ({"weightings": ["dwaa"]}, "No weighting is called 'dwaa'", UnknownNameError),
        ({"weightings": []}, "A search must have something to choose", ConfigError),
        ({"sampler": "best"}, "No sampler is called 'best'", UnknownNameError),
        ({"objectives": ["score", "distance"], "pruner": "median"}, "Pruning needs one objective", ConfigError),
        ({"function": lambda trial: 1.0}, "run(trial) must return metrics by name, but it returned float", ConfigError),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, more, says, kind):
    with pytest.raises(kind) as error:
        search(tmp_path, **more)
    assert says in str(error.value)


def test_the_weights_sum_is_the_mean_over_the_training_and_fresh_seeds_are_not_its_own(tmp_path):
    seeds = []

    def growing(trial):
        seeds.append((trial.test, trial.seed))
        x = torch.ones(())
        for _ in range(101):
            trial.balancer({"near": x * 1e-3, "far": x * 1e-3})
        return {"distance": 1.0 + 0.01 * torch.rand(()).item()}

    outcome = search(tmp_path, growing, n_trials=2, weightings=["uncertainty"], normalise=False, seed=10_001)
    trial = next(t for t in outcome.study.trials if t.user_attrs["candidate"]["weighting"]["name"] == "uncertainty")
    summary = json.loads((tmp_path / trial.user_attrs["place"] / "summary.json").read_text())
    assert trial.user_attrs["mean_weight_sum"] == summary["mean_weight_sum"]
    assert trial.user_attrs["mean_weight_sum"] < 0.95 * sum(summary["final_weights"].values())
    assert {seed for test, seed in seeds if not test} == {10_001}
    assert {seed for test, seed in seeds if test} == {10_000, 10_002, 10_003, 10_004}


def test_an_outcome_is_short_and_read_gives_the_same_verdict(tmp_path):
    outcome = search(tmp_path, n_trials=4)
    lines = repr(outcome).splitlines()
    assert lines == ["<Search: 4 trials, 1 confirmed on fresh seeds>", outcome.verdict[-1]]
    assert "<table>" in outcome._repr_html_()
    assert "no difference shown" in outcome._repr_html_() or "better" in outcome._repr_html_()
    read = autoloss.report.read(tmp_path)
    assert outcome.verdict[-1] in read.sentences
    assert len(read.tables["Leaderboard"]) == 4

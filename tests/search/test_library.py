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


class One(torch.nn.Module):
    """A network of one number."""

    def __init__(self):
        super().__init__()
        self.x = torch.nn.Parameter(torch.zeros(1))


def keeping(calls=None, offers=lambda trial: True):
    """A function that fits the number of a network as ``run`` does, and keeps the network."""

    def function(trial):
        if calls is not None:
            calls.append((trial.directory.name, trial.seed, trial.test))
        network = One()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.2)
        for _ in range(5):
            losses = {"near": (network.x - 1).square().sum(), "far": (network.x - 3).square().sum()}
            optimizer.zero_grad()
            trial.balancer(losses).backward()
            optimizer.step()
        if offers(trial):
            trial.keep(network)
        far, near = abs(network.x.item() - 3), abs(network.x.item() - 1)
        noise = 1 + 0.02 * torch.randn(1).item()
        return {"distance": far * noise, "other": near * noise + 1}

    return function


BOTH = {"distance": "min", "other": "min"}


def test_what_the_function_keeps_is_the_model_of_the_choice(tmp_path):
    calls, said = [], []
    outcome = search(tmp_path, keeping(calls), says=said.append)
    assert outcome.best.weighting["name"] == "fixed"
    assert calls[-1] == ("kept", 0, False)
    assert [name for name, *_ in calls].count("kept") == 1
    assert not list((tmp_path / "trials").rglob("model.pt"))
    model = autoloss.load(tmp_path, network=One())
    # The minimum of both losses, weighted by what was chosen.
    weights = outcome.best.weighting["weights"]
    x, step = 0.0, 0.2
    for _ in range(5):
        x -= step * 2 * (weights["near"] * (x - 1) + weights["far"] * (x - 3))
    assert model.network.x.item() == pytest.approx(x, rel=1e-4)
    assert model.balancer.weights == pytest.approx(weights, rel=1e-4)
    assert not model.network.training
    assert model.problem is None
    assert outcome.decision.sentence in said[-1]
    assert any(line.startswith("model: ") and "trained once more" in line for line in said)
    search(tmp_path, keeping(calls), says=said.append)
    assert [name for name, *_ in calls].count("kept") == 1
    assert any(line.endswith("(as before)") for line in said)


def test_a_function_that_keeps_nothing_is_not_called_once_more(tmp_path):
    said = []
    search(tmp_path, says=said.append)
    assert not (tmp_path / "kept").exists()
    assert not any("model" in line for line in said)


def test_a_search_without_its_model_says_why_and_keeps_its_outcome(tmp_path):
    said = []
    outcome = search(tmp_path, keeping(offers=lambda trial: trial.directory.name != "kept"), says=said.append)
    assert any(line.startswith("no model: run(trial) did not call trial.keep(network)") for line in said)
    assert len(outcome.ranked) == 8

    def fails(trial):
        assert trial.directory.name != "kept", "no more memory"
        return keeping()(trial)

    search(tmp_path / "fails", fails, says=said.append)
    assert any(line.startswith("no model: ") and "no more memory" in line for line in said)
    with pytest.raises(ConfigError, match="A model must lie in"):
        autoloss.load(tmp_path / "fails", network=One())


def test_such_a_model_needs_a_network_and_predicts_by_it(tmp_path):
    search(tmp_path, keeping(), n_trials=2, confirm_best=0)
    with pytest.raises(ConfigError, match=r"must be loaded into a network, but for .* none is given"):
        autoloss.load(tmp_path)
    with pytest.raises(ConfigError, match="Call its network"):
        autoloss.load(tmp_path, network=One()).predict([1.0])
    with pytest.raises(ConfigError, match="does not load"):
        autoloss.load(tmp_path, network=torch.nn.Linear(1, 1))


def test_the_guard_refuses_what_makes_a_metric_worse(tmp_path):
    def both(directory, **more):
        options = {"n_trials": 8, "weightings": ["fixed"], "confirm_best": 1, "confirm_seeds": 4, **more}
        return autoloss.search(keeping(), ["near", "far"], BOTH, directory=directory, says=lambda line: None, **options)

    free, guarded = both(tmp_path), both(tmp_path, guard="5%")
    assert free.best.weighting["name"] == "fixed"
    assert "other gets" in free.decision.sentence
    assert guarded.guard == 0.05
    assert guarded.best.weighting["name"] == "equal"
    assert guarded.decision.kept


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
        ({"guard": "much"}, "search.guard must be a share from 0% to below 100%, but it is 'much'", ConfigError),
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

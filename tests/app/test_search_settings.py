"""Settings of a training that a search, and the verbs that choose a weighting, take as `train` does."""

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autoloss.app.composition import composed
from autoloss.app.config_source import component_node
from autoloss.app.overrides import rewritten
from autoloss.core.errors import UnknownNameError

SMALL = ("problem.pairs=64", "trainer.max_epochs=1")
NASTY = """
import torch
from autoloss import Outputs, Problem, Term

NAMES = ["1", "KL(q||p)", "a,b", "true", "seg.fg", "b/c", "with blank", "é", "it's", "${seed}", "a:b", "[x]"]


class Nasty(Problem):
    \"\"\"Losses with names that Hydra's grammar has another use for.\"\"\"

    terms = {name: None for name in NAMES}
    metrics = {"error": "min"}

    def network(self):
        return torch.nn.Linear(3, len(NAMES))

    def outputs(self, network, batch):
        y = network(batch[0])
        errors = (y - batch[0].sum(1, keepdim=True)).square()
        return Outputs({name: errors[:, i] for i, name in enumerate(NAMES)}, anchor=y)

    def measure(self, outputs):
        return {"error": sum(outputs.terms.values())}

    def datasets(self, seed):
        x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        data = torch.utils.data.TensorDataset
        return {"train": data(x[:64]), "val": data(x[64:])}


class WithLosses(Nasty):
    terms = {name: "mse" for name in NAMES}

    def outputs(self, network, batch):
        y, target = network(batch[0]), batch[0].sum(1)
        kept = {"balanced": False}
        terms = {name: Term(y[:, i], target, **(kept if name == "b/c" else {})) for i, name in enumerate(NAMES)}
        return Outputs(terms, anchor=y)

    def measure(self, outputs):
        return {"error": (outputs.term("1").prediction - outputs.term("1").target).square()}
"""


def trials(directory):
    storage = JournalStorage(JournalFileBackend(str(directory / "study.log")))
    return optuna.load_study(study_name=None, storage=storage).trials


def test_an_unbalanced_loss_is_not_searched(autoloss, tmp_path):
    command = ("search", *SMALL, "search.weightings=[fixed]", "unbalanced=[pixels]", "search.confirm=0")
    done = autoloss(*command, "search.n_trials=3", "hydra.run.dir=here")
    assert done.returncode == 0, done.stderr
    for trial in trials(tmp_path / "here")[1:]:
        weights = trial.user_attrs["candidate"]["weighting"]["weights"]
        summary = json.loads((tmp_path / f"here/{trial.user_attrs['place']}/summary.json").read_text())
        assert set(weights) == {"left", "right"}
        assert summary["final_weights"] == pytest.approx({**weights, "pixels": 1.0})
        assert sum(summary["final_weights"].values()) == pytest.approx(3)


@pytest.mark.parametrize("problem", ["Nasty", "WithLosses"])
def test_losses_of_any_name_are_searched_and_trained(autoloss, tmp_path, problem):
    (tmp_path / "nasty_names.py").write_text(NASTY)
    common = (f"problem=nasty_names:{problem}", "trainer.max_epochs=1")
    command = ("search", *common, "search.weightings=[fixed]", "search.confirm=0", "search.n_trials=3")
    done = autoloss(*command, "hydra.run.dir=here")
    assert done.returncode == 0, done.stderr
    assert "failed:" not in done.stdout
    (one, *_) = [t for t in trials(tmp_path / "here") if not t.user_attrs.get("baseline")]
    summary = json.loads((tmp_path / f"here/{one.user_attrs['place']}/summary.json").read_text())
    kept = {"b/c": 1.0} if problem == "WithLosses" else {}  # its training declares it unbalanced
    assert summary["final_weights"] == pytest.approx({**one.user_attrs["candidate"]["weighting"]["weights"], **kept})
    assert autoloss("train", "load=here/best.yaml", common[0], "hydra.run.dir=best").returncode == 0


def test_a_search_says_before_what_it_leaves_out(autoloss):
    done = autoloss("search", *SMALL, "search.weightings=[fixed,dwa]", "search.confirm=0", "search.n_trials=2")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert "search.n_trials=2 is too few for dwa. Set search.n_trials=3 or more." in first


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "weighting=equal,uncertainty", "compare.seeds=1"),
        ("search", "search.weightings=[uncertainty,dwa]", "search.n_trials=3", "search.confirm=0"),
        ("diagnose", "diagnose.runs=1", "diagnose.epochs=1", "diagnose.lookahead=false"),
        ("train", "weighting=equal"),
        ("train", "-m", "weighting=equal,uncertainty"),
    ],
    ids=["compare", "search", "diagnose", "train", "sweep"],
)
def test_an_experiment_sets_its_own_weighting_alone(autoloss, tmp_path, command):
    place = "hydra.sweep.dir=here" if "-m" in command else "hydra.run.dir=here"
    done = autoloss(*command, *SMALL, "experiment=kendall", place)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout.replace("0 failed", "")
    found = [json.loads(p.read_text())["config"]["weighting"] for p in (tmp_path / "here").rglob("summary.json")]
    assert {"name": "equal", "wrap": []} in found
    variants = [node["variant"] for node in found if node["name"] == "uncertainty"]
    assert all(one == {"left": "softmax", "right": "softmax", "pixels": "gaussian"} for one in variants)


def test_a_run_directory_stands_for_its_last_checkpoint(autoloss):
    assert autoloss("train", *SMALL, "hydra.run.dir=first").returncode == 0
    more = ("problem.pairs=64", "trainer.max_epochs=2", "hydra.run.dir=second")
    done = autoloss("train", *more, "ckpt=first")
    assert done.returncode == 0, done.stderr
    assert "goes on from first/checkpoints/last.ckpt" in done.stdout
    none = autoloss("train", *more, "ckpt=nowhere")
    assert none.returncode == 2


def test_a_search_in_which_only_equal_weights_finish_fails(autoloss, monkeypatch):
    from autoloss.weightings.fixed import Fixed

    def breaks(self, signals):
        raise ArithmeticError("no weights today")

    monkeypatch.setattr(Fixed, "forward", breaks)
    done = autoloss("search", *SMALL, "search.weightings=[fixed]", "search.n_trials=3", "search.confirm=1")
    assert done.returncode == 1
    assert "all 2 beside equal weights failed: " in done.stderr


CHOSEN = {
    "": {"name": "focal", "gamma": 3},
    "losses.right.gamma=1": {"name": "focal", "gamma": 1},
    "losses.right=focal": {"name": "focal", "gamma": 3, "alpha": -1.0},
    "losses.right=poly losses.right.e1=2": {"name": "poly", "e1": 2, "e2": 0.0, "e3": 0.0},
    "losses.right=cross_entropy": {"name": "cross_entropy", "label_smoothing": 0.0},
}


@pytest.mark.parametrize("typed", CHOSEN)
@pytest.mark.parametrize("way", ["by name", "by defaults"])
def test_a_loss_of_an_experiment_has_parameters_of_its_own_alone(tmp_path, typed, way):
    (tmp_path / "experiment").mkdir()
    lines = {
        "by name": "losses: {right: {name: focal, gamma: 3}}",
        "by defaults": "defaults: [override /loss@losses.right: focal]\nlosses: {right: {gamma: 3}}",
    }
    (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\n{lines[way]}\n")
    overrides = rewritten(["problem=two_digits", "experiment=mine", *typed.split()])
    found = composed("train", overrides, [str(tmp_path)])["losses"]
    loss = dict(found["right"])
    for name in ("class_weights", "ignore_index"):
        loss.pop(name, None)
    assert {**CHOSEN[typed], **loss} == loss
    assert set(loss) <= set(component_node("loss", loss["name"]))
    assert found["left"]["name"] == "cross_entropy"


def test_a_name_in_an_experiment_may_be_of_a_discriminators_loss(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndiscriminator: {losses: {penalty: {name: gradient_penalty, every: 4}}}\n"
    (tmp_path / "experiment/mine.yaml").write_text(text)
    before = composed("train", ["problem=digits_vae_gan"])["discriminator"]
    found = composed("train", ["problem=digits_vae_gan", "experiment=mine"], [str(tmp_path)])["discriminator"]
    assert "gamma" in before["losses"]["penalty"]  # a parameter of r1, and not of the other
    assert found["losses"].pop("penalty") == {"name": "gradient_penalty", "every": 4}
    before["losses"].pop("penalty")
    assert found == before


@pytest.mark.parametrize("group", ["experiment", "debug"])
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", {"name": "gradnorm", "alpha": 0.5}),
        ("weighting=equal", {"name": "equal"}),
        ("weighting=auto weighting.norm=0.3", {"name": "auto", "norm": 0.3}),
        ("weighting=gradnorm", {"name": "gradnorm", "alpha": 0.5}),
    ],
)
def test_a_weighting_that_is_typed_stands_beside_one_that_a_file_names(tmp_path, group, typed, found):
    (tmp_path / group).mkdir()
    (tmp_path / group / "mine.yaml").write_text("# @package _global_\nweighting: {name: gradnorm, alpha: 0.5}\n")
    weighting = composed("train", ["problem=two_digits", f"{group}=mine", *typed.split()], [str(tmp_path)])["weighting"]
    assert {**weighting, **found} == weighting
    assert set(weighting) <= set(component_node("weighting", found["name"]))


def test_a_loss_that_is_misspelt_beside_an_experiment_is_one_sentence():
    with pytest.raises(UnknownNameError, match="No loss is called 'lefft'. Did you mean 'left'"):
        composed("train", ["experiment=kendall", "losses.lefft.gamma=1"])

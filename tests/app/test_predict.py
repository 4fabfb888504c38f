"""From a CSV file to a verdict to predictions, as a new user types it; and models that are loaded elsewhere."""

import csv
import json
import random
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

import autoloss as package
from autoloss.core.errors import ConfigError
from autoloss.core.io.files import MODEL

TABLE = ("problem=tabular", "problem.csv=my.csv", "problem.targets=[price,sold]", "trainer.max_epochs=2")
OWN = """
import torch
import autoloss
from autoloss import Outputs, Problem, Term


class Mine(Problem):
    terms = {"a": "mse", "b": "mse"}
    metrics = {"error": "min"}

    def network(self):
        return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))

    def outputs(self, network, batch):
        y = network(batch[0])
        return Outputs({"a": Term(y[:, 0], batch[0].sum(1)), "b": Term(y[:, 1], batch[0][:, 0])}, anchor=y)

    def measure(self, outputs):
        return {"error": (outputs.term("a").prediction - outputs.term("a").target).square()}

    def datasets(self, seed):
        x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        data = torch.utils.data.TensorDataset
        return {"train": data(x[:32]), "val": data(x[32:])}


class Predicts(Mine):
    def predict(self, network, samples):
        return network(torch.tensor(samples))
"""


@pytest.fixture
def table(tmp_path):
    """my.csv to train on, and NEW.csv with the rows to predict, one of them with an unseen city."""
    draw = random.Random(0)
    rows = []
    for _ in range(120):
        size, city = draw.gauss(100, 20), draw.choice(["Bern", "Basel"])
        price = 3 * size + (50 if city == "Bern" else 0) + draw.gauss(0, 10)
        rows.append((f"{size:.1f}", city, f"{price:.1f}", "yes" if price > 325 else "no"))
    (tmp_path / "my.csv").write_text("size,city,price,sold\n" + "".join(",".join(row) + "\n" for row in rows))
    new = [*((row[1], row[0]) for row in rows[:4]), ("Zug", "90")]
    (tmp_path / "NEW.csv").write_text("city,size\n" + "".join(",".join(row) + "\n" for row in new))
    return tmp_path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_user_gets_from_a_csv_to_predictions_in_four_commands(autoloss, table):
    """Each command is typed as the one before prints it, or as the docs do."""
    first = autoloss("train", *TABLE, "hydra.run.dir=first")
    assert first.returncode == 0, first.stderr
    few = ("search.n_trials=2", "search.confirm=1", "search.confirm_seeds=2", "search.weightings=[fixed]")
    second = autoloss("search", *TABLE, *few, "name=mine")
    assert second.returncode == 0, second.stderr
    root, lines = table / "outputs/search/mine", second.stdout.splitlines()
    decision = json.loads((root / "search.json").read_text())["decision"]
    assert decision["sentence"] in lines
    assert decision["sentence"].startswith(("Keep equal weights", "Use fixed"))
    assert {one["metric"] for one in decision["changes"]} in ({"price_mse", "sold_error"}, set())
    assert any(line.startswith("model: ") and " s;" in line for line in lines)
    assert lines[-1] == f"next: {decision['command']}"
    # Nothing of the table is needed any more.
    (table / "my.csv").rename(table / "moved.csv")
    third = autoloss(*shlex.split(lines[-1].removeprefix("next: autoloss ")))
    assert third.returncode == 0, third.stderr
    assert "'city' has categories that the training data lack; they count as none: 'Zug'" in third.stderr
    found = read(table / "predictions.csv")
    assert len(found) == 5
    assert list(found[0]) == ["price", "sold", "sold_probability"]
    assert {row["sold"] for row in found} <= {"yes", "no"}
    fourth = autoloss("predict", "first", "NEW.csv", "out=of_the_run.csv")
    assert fourth.returncode == 0, fourth.stderr
    assert len(read(table / "of_the_run.csv")) == 5

    # Another place, another process without Lightning: the same numbers.
    shutil.move(root, table / "elsewhere")
    code = (
        "import sys, json, autoloss; model = autoloss.load(sys.argv[1]); found = model.predict(sys.argv[2]); "
        "sys.stdout.write(json.dumps([found, model.balancer.weights, model.network.training, "
        "model.balancer.training, 'pytorch_lightning' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(table / "elsewhere"), str(table / "NEW.csv")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told, weights, *states = json.loads(done.stdout)
    assert [f"{x:.6g}" for x in told["price"]] == [row["price"] for row in found]
    summary = json.loads((table / "elsewhere/kept/summary.json").read_text())
    assert weights == pytest.approx(summary["final_weights"], rel=1e-6)
    assert states == [False, False, False]

    # best.yaml works from any directory, and the trials' checkpoint.every=0 does not reach it.
    (table / "moved.csv").rename(table / "my.csv")
    (table / "other").mkdir()
    best = table / "elsewhere/best.yaml"
    assert "checkpoint" not in best.read_text()
    trained = autoloss("train", f"load={best}", "hydra.run.dir=again", cwd=table / "other")
    assert trained.returncode == 0, trained.stderr
    assert (table / "other/again/checkpoints/last.ckpt").is_file()


def test_a_table_whose_groups_are_balanced_predicts_as_any_other(autoloss, table):
    done = autoloss("train", *TABLE, "group_by=city", "hydra.run.dir=groups")
    assert done.returncode == 2
    assert "Write problem.keys=[city] to take the values of a column." in done.stderr
    groups = ("problem.keys=[city]", "group_by=city", "losses.price.by=city")
    done = autoloss("train", *TABLE, *groups, "weighting=auto", "hydra.run.dir=groups")
    assert done.returncode == 0, done.stderr
    summary = json.loads((table / "groups/summary.json").read_text())
    assert set(summary["final_weights"]) == {"price_Basel", "price_Bern", "sold"}
    assert {"price_mse", "price_mse_Basel", "price_mse_Bern", "price_mse_worst"} <= set(summary["metrics"])
    done = autoloss("predict", "groups", "NEW.csv")
    assert done.returncode == 0, done.stderr
    assert list(read(table / "predictions.csv")[0]) == ["price", "sold", "sold_probability"]


def test_a_search_keeps_its_model_once_and_not_at_all_if_it_is_told(autoloss, table):
    command = ("search", *TABLE, "search.n_trials=2", "search.confirm=0", "search.weightings=[fixed]", "name=mine")
    root = table / "outputs/search/mine"
    without = autoloss(*command, "search.keep=false")
    assert without.returncode == 0, without.stderr
    assert not (root / MODEL).exists()
    assert without.stdout.splitlines()[-1] == "next: autoloss train load=outputs/search/mine/best.yaml"
    first = autoloss(*command)
    assert first.returncode == 0, first.stderr
    before = (root / MODEL).stat().st_mtime_ns
    again = autoloss(*command)
    assert "model: outputs/search/mine/checkpoints/model.pt (as before)" in again.stdout
    assert (root / MODEL).stat().st_mtime_ns == before


def test_a_persons_own_problem_loads_only_if_it_is_trusted(autoloss, tmp_path, monkeypatch):
    (tmp_path / "mine_to_load.py").write_text(OWN)
    done = autoloss("train", "problem=mine_to_load:Predicts", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"would import 'mine_to_load:Predicts'.*trust="):
        package.load(tmp_path / "run")
    model = package.load(tmp_path / "run", trust=["mine_to_load:Predicts"])
    samples = [[1.0, 2.0, 3.0]]
    assert torch.equal(model.predict(samples), model.network(torch.tensor(samples)).detach())
    assert not model.predict(samples).requires_grad
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, checkpoint[f"network.{name}"])
    plain = autoloss("train", "problem=mine_to_load:Mine", "trainer.max_epochs=1", "hydra.run.dir=plain")
    assert plain.returncode == 0, plain.stderr
    with pytest.raises(ConfigError, match=r"need a problem with predict\(\), but Mine has none"):
        package.load(tmp_path / "plain", trust=["mine_to_load:Mine"]).predict(samples)


@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm", "dwa", "famo"])
def test_the_balancer_has_the_weights_of_the_end(autoloss, tmp_path, weighting):
    done = autoloss("train", "problem.pairs=100", "trainer.max_epochs=1", f"weighting={weighting}", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert package.load(tmp_path / "run").balancer.weights == pytest.approx(summary["final_weights"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        (
            "problem=digits_gan",
            "generator.average=0.99",
            "trainer.limit_train_batches=2",
            "trainer.limit_val_batches=1",
        ),
        ("problem=noisy_digits", "sample_weighting=data_parameters", "trainer.limit_train_batches=2"),
        ("problem.pairs=100", "module=curriculum", "weighting=cagrad", "penalties.orthogonality=0.01"),
        ("problem.pairs=100", "weighting=auto_lambda", "groups.digits=[left,right]", "base.pixels=0.5"),
    ],
    ids=["gan", "samples", "curriculum", "groups"],
)
def test_every_kind_of_run_is_loaded(autoloss, tmp_path, settings):
    done = autoloss("train", *settings, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    model, summary = package.load(tmp_path / "run"), json.loads((tmp_path / "run/summary.json").read_text())
    assert model.balancer.weights == pytest.approx(summary["final_weights"])
    if "problem=digits_gan" in settings:
        return  # so few batches leave no checkpoint to compare with
    states = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, states[f"network.{name}"])


def _code(place):
    class Bad:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"format": 1, "network": Bad()}, place)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda place: None, "there is no file"),
        (lambda place: place.write_bytes(b"PK\x03\x04 half"), "does not load"),
        (_code, "does not load"),
        (lambda place: torch.save({"format": 9}, place), "of format 1, but .* is 9"),
        (lambda place: torch.save([1], place), "is list"),
    ],
    ids=["none", "half", "code", "format", "list"],
)
def test_what_is_no_model_is_one_sentence(autoloss, table, write, said):
    place = table / "run" / MODEL
    place.parent.mkdir(parents=True)
    write(place)
    with pytest.raises(ConfigError, match=said):
        package.load(table / "run")
    done = autoloss("predict", "run", "NEW.csv")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "run\n" not in done.stdout
    assert not (table / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "needs NEW.csv"),
        (["run", "none.csv"], "there is no file 'none.csv'"),
        (["run", "NEW.csv", "out=NEW.csv"], "must not replace the rows"),
        (["run", "NEW.csv", "to=x.csv"], "has only the keys out and trust"),
        (["run", "NEW.csv", "out=my.csv/x.csv"], "cannot be"),
        (["run", "lacking.csv"], "there is no column 'city' in 'lacking.csv'"),
    ],
    ids=["nothing", "file", "same", "key", "place", "column"],
)
def test_a_mistake_is_one_sentence(autoloss, table, trained, arguments, said):
    (table / "lacking.csv").write_text("size,sold\n3,yes\n")
    shutil.copytree(trained, table / "run")
    done = autoloss("predict", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (table / "predictions.csv").exists()


def test_the_directory_above_the_runs_says_where_the_model_is(autoloss, table, trained):
    shutil.copytree(trained, table / "train/messy/001")
    shutil.copytree(trained, table / "train/messy/002")
    done = autoloss("predict", "train/messy", "NEW.csv")
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("There is one in 'train/messy/002'.")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a run on a table, with its model."""
    from autoloss.problems.tabular import Tabular
    from autoloss.training.balancer import Balancer
    from autoloss.training.saved_model import save_model

    place = tmp_path_factory.mktemp("trained")
    rows = [f"{i},{'ab'[i % 2]},{i * 1.5},{'yn'[i % 2]}" for i in range(60)]
    (place / "my.csv").write_text("size,city,price,sold\n" + "\n".join(rows) + "\n")
    problem = Tabular(str(place / "my.csv"), ["price", "sold"])
    config = {"problem": {"name": "tabular", "csv": "gone.csv"}, "weighting": "equal", "base": {}, "groups": {}}
    config |= {"unbalanced": [], "sample_weighting": "uniform"}
    save_model(place / MODEL, problem, problem.network(), Balancer(["price", "sold"], "equal").player, config)
    return place


def test_a_problem_that_reads_no_file_offers_no_predictions_of_one(autoloss, tmp_path):
    done = autoloss("train", "problem=digits_diffusion", "trainer.max_steps=2", "name=d")
    assert done.returncode == 0, done.stderr
    (tmp_path / "NEW.csv").write_text("x\n1\n")
    told = autoloss("predict", "outputs/train/d/001", "NEW.csv")
    assert told.returncode == 2, told.stderr
    assert "needs a problem that predicts the rows of a file, but 'digits_diffusion' reads none" in told.stderr

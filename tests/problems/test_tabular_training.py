"""Trainings on a table: its losses, its gaps, its metrics."""

import json

import pytest
import torch

from autoloss.app.composition import allow_new_terms, composed
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train
from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.problems.tabular import Tabular
from autoloss.training.lightning.loaders import loader
from autoloss.training.step.entries import table_of
from tests.problems.sheets import TARGETS, table, tables
from tests.trainers import quiet_trainer


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
def test_missing_labels_have_no_part_in_loss_and_gradient(sheet):
    problem = Tabular(sheet(table(missing=0.3)), TARGETS)
    torch.manual_seed(0)
    module = prepare(settings(problem="unused"), problem).module()
    batch = tables(problem)
    outputs = problem.outputs(module.network, batch)
    losses = table_of(outputs, module.losses, module.player, Clock(0, 0, 0.0)).reduced(TARGETS)
    sum(losses.scalars).backward()
    masked = [parameter.grad.clone() for parameter in module.network.parameters()]
    assert all(grad.isfinite().all() for grad in masked)
    module.network.zero_grad()
    # The textbook form: each loss on the rows alone that have its label.
    total = 0.0
    for name in TARGETS:
        here = batch[f"present {name}"]
        assert 0 < here.sum() < len(here)
        term = problem.outputs(module.network, {key: column[here] for key, column in batch.items()}).term(name)
        total = total + module.losses[name](term.prediction, term.target).mean()
    total.backward()
    for one, other in zip(masked, module.network.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)


def test_losses_of_terms_that_the_class_does_not_know_are_appended():
    choose = ["problem=tabular", "problem.csv=x.csv", "problem.targets=[a,b]"]
    assert allow_new_terms([*choose, "loss@losses.a=huber", "losses.a.delta=2"]) == [
        "+loss@losses.a=huber",
        *choose,
        "losses.a.delta=2",
    ]
    assert allow_new_terms([*choose, "losses.b.label_smoothing=0.1"])[-1] == "++losses.b.label_smoothing=0.1"
    # A loss of a file that is loaded gives way to one that is typed.
    assert allow_new_terms(["+loss@losses.a=mae", *choose, "loss@losses.a=huber"]) == ["+loss@losses.a=huber", *choose]
    static = ["problem=two_digits", "loss@losses.left=focal", "losses.left.gamma=1"]
    assert allow_new_terms(static) == static
    assert allow_new_terms(["loss@losses.left=focal"]) == ["loss@losses.left=focal"]
    config = composed("train", [*choose, "loss@losses.a=huber", "losses.a.delta=2"])
    assert config["losses"] == {"a": {"name": "huber", "delta": 2}}


def settings(problem, losses=(), epochs=2, **others):
    chosen = ["problem=tabular", f"problem.csv={problem}", "problem.targets=[income,grade,left]"]
    overrides = [*chosen, *losses, f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu"]
    return {**composed("train", overrides), **others}


def test_losses_that_are_not_named_are_the_problems_own(sheet):
    config = settings(sheet(table()), ["losses.grade.label_smoothing=0.2", "loss@losses.left=focal"])
    losses = prepare(config).module().losses
    assert [type(losses[name]).__name__ for name in TARGETS] == ["Mse", "CrossEntropy", "Focal"]
    assert losses["grade"].label_smoothing == 0.2
    config["losses"] = {"rent": "mse"}
    with pytest.raises(ConfigError, match="No loss is called 'rent'. There are: grade, income, left."):
        prepare(config)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_metrics_are_means_over_the_values_that_are_present(sheet):
    """Uneven batches, and some of them without any label of a target."""
    rows = table(150)
    for batch, keeps in enumerate((4, 3, 5, 4)):
        for row in Tabular(sheet(rows), TARGETS).splits["val"][7 * batch : 7 * batch + 7].tolist():
            rows[row][3:] = [cell if i == keeps else "" for i, cell in enumerate(rows[row])][3:]
    problem = Tabular(sheet(rows), TARGETS)
    module = prepare(settings("unused"), problem).module()
    data = problem.datasets(0)["val"]
    trainer = quiet_trainer()
    (found,) = trainer.validate(module, loader(data, 7, 0, shuffle=False), verbose=False)
    counts = [[int(part.sum()) for part in data.columns[f"present {name}"].split(7)] for name in TARGETS]
    assert len(data) % 7
    assert all(0 in count and len(set(count)) > 1 for count in counts), counts
    with torch.no_grad():
        outputs = problem.outputs(module.network, data.columns)
    for name, metric in zip(TARGETS, problem.metrics, strict=True):
        term = outputs.term(name)
        here = term.mask
        if name == "income":
            expected = (term.prediction - term.target)[here].square().mean()
        elif name == "grade":
            expected = (term.prediction.argmax(1) != term.target)[here].float().mean()
        else:
            expected = ((term.prediction[:, 0] > 0).float() != term.target[:, 0])[here].float().mean()
        assert found[f"val/{metric}"] == pytest.approx(float(expected), rel=1e-6)


def test_a_table_with_gaps_is_learned(sheet, tmp_path):
    config = settings(sheet(table(400, missing=0.1)), epochs=20, test=True, weighting={"name": "gradnorm"})
    summary = train(config, tmp_path / "run")
    assert set(summary["metrics"]) == set(summary["test_metrics"]) == {"income_mse", "grade_error", "left_error"}
    assert summary["metrics"]["income_mse"] < 0.5
    assert summary["metrics"]["left_error"] < 0.25
    assert all(v == v for v in summary["test_metrics"].values())


def test_the_first_five_minutes(autoloss, sheet, tmp_path):
    sheet(table(100, missing=0.1))
    command = "train problem=tabular problem.csv=my.csv problem.targets=[income,left] losses.income=huber"
    done = autoloss(*command.split(), "weighting=gradnorm", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("summary.json")
    summary = json.loads(path.read_text())
    assert summary["config"]["losses"] == {"income": {"name": "huber", "delta": 1.0}}
    assert set(summary["final_weights"]) == {"income", "left"}
    assert summary["goals"] == {"income_mse": "min", "left_error": "min"}


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_it_trains_through_a_fork_where_some_labels_are_missing(sheet):
    config = settings(sheet(table(missing=0.3)), ["weighting=graddrop"])
    prepared = prepare(config)
    module, problem = prepared.module(), prepared.problem
    trainer = quiet_trainer(max_epochs=1, log_every_n_steps=1, limit_val_batches=0)
    before = [p.clone() for p in module.network.parameters()]
    tables = problem.datasets(0)
    trainer.fit(module, loader(tables["train"], 16, 0, shuffle=True), loader(tables["val"], 16, 0, shuffle=False))
    assert module.forked
    assert all(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))

"""Any CSV file as a problem."""

import csv
import json
import random

import pytest
import pytorch_lightning as pl
import torch

from autoloss.app.composition import allow_new_terms, composed
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train
from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.problems.tabular import Tabular
from autoloss.training.lightning.loaders import loader
from autoloss.training.step.entries import table_of

HEADER = ["age", "hours", "city", "income", "grade", "left"]
TARGETS = ["income", "grade", "left"]


def table(count=120, missing=0.0, seed=0):
    """Rows of text; ``missing`` is the share of cells that are emptied, labels and inputs alike."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        age, hours, city = draw.gauss(40, 10), draw.gauss(35, 8), draw.choice(["Oslo", "Paris", "Rome"])
        income = 100 * age + 50 * hours + 300 * len(city)
        row = [f"{age:.2f}", f"{hours:.2f}", city, f"{income:.1f}", ["low", "mid", "high"][int(income // 900) % 3]]
        row.append("yes" if age > 40 else "no")
        rows.append([draw.choice(["", "NA", " nan"]) if draw.random() < missing else cell for cell in row])
    return rows


@pytest.fixture
def sheet(tmp_path):
    """Writes rows (or text) to a file and gives its path."""

    def write(rows, header=HEADER, name="my.csv"):
        path = tmp_path / name
        with path.open("w", newline="") as file:
            if isinstance(rows, str):
                file.write(rows)
            else:
                csv.writer(file).writerows([header, *rows])
        return str(path)

    return write


def tables(problem, split="train"):
    return problem.datasets(0)[split].columns


def columns_of(values, count=60):
    """A header and rows of two columns: ``values`` over and over as the target ``t``, and numbers."""
    return [[str(i * 1.5 % 7), values[i % len(values)]] for i in range(count)], ["x", "t"]


@pytest.mark.parametrize(
    ("values", "kind", "size"),
    [
        ([f"{i / 7:.3f}" for i in range(11)], "regression", 1),
        ([str(i) for i in range(10)], "multiclass", 10),
        (["0", "1"], "binary", 1),
        (["-3.5", "12"], "binary", 1),
        (["1", "1.0", "2"], "binary", 1),
        (["yes", "no", ""], "binary", 1),
        (["low", "mid", "high", "N/A"], "multiclass", 3),
        (["1", "2", "3+"], "multiclass", 3),
    ],
)
def test_kinds_are_found_out(sheet, values, kind, size):
    problem = Tabular(sheet(*columns_of(values)), ["t"])
    loss = {"regression": "mse", "binary": "binary_cross_entropy", "multiclass": "cross_entropy"}[kind]
    metric = "t_mse" if kind == "regression" else "t_error"
    assert (problem.terms, problem.metrics) == ({"t": loss}, {metric: "min"})
    term = problem.outputs(problem.network(), problem.datasets(0)["val"].columns).terms["t"]
    assert term.prediction.shape[1] == size


def test_a_kind_that_is_said_is_taken(sheet):
    path = sheet(*columns_of(["1", "2", "3"]))
    assert Tabular(path, ["t"], kinds={"t": "regression"}).terms == {"t": "mse"}
    path = sheet(*columns_of(["1", "2"]))
    assert Tabular(path, ["t"], kinds={"t": "multiclass"}).terms == {"t": "cross_entropy"}
    one_hot = Tabular(path, ["t"], kinds={"x": "categorical"})
    assert one_hot.inputs.width > 10


def test_classes_ascend(sheet):
    path = sheet(*columns_of(["10", "9", "2"]))
    problem = Tabular(path, ["t"], split_seed=3)
    order = torch.cat([problem.splits[s] for s in ("train", "val", "test")])
    found = torch.cat([tables(problem, s)["target t"] for s in ("train", "val", "test")])
    assert torch.equal(found[order.argsort()][:3], torch.tensor([2, 1, 0]))


def test_inputs_and_targets_are_standardised_by_the_training_rows(sheet):
    problem = Tabular(sheet(table()), TARGETS)
    train = tables(problem)
    assert train["inputs"].shape == (72, 2 + 3)
    for column in (*train["inputs"][:, :2].T, train["target income"][:, 0]):
        assert float(column.mean()) == pytest.approx(0, abs=1e-5)
        assert float(column.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert abs(float(tables(problem, "val")["inputs"][:, 0].mean())) > 1e-3


@pytest.mark.parametrize("text", ["999999", "", "Atlantis"])
def test_what_lies_outside_the_training_rows_does_not_leak_into_them(sheet, text):
    rows = table()
    before = Tabular(sheet(rows), TARGETS)
    for split in ("val", "test"):
        row = rows[int(before.splits[split][0])]
        row[0], row[3] = ("1e6", "1e9") if text == "999999" else ("", "") if text == "" else (row[0], row[3])
        row[2] = text
    after = Tabular(sheet(rows), TARGETS)
    assert not torch.equal(tables(before, "val")["inputs"], tables(after, "val")["inputs"])
    assert all(torch.equal(tables(before)[name], tables(after)[name]) for name in tables(before))
    rows[int(before.splits["train"][0])][0] = "77"
    assert not torch.equal(tables(before)["inputs"], tables(Tabular(sheet(rows), TARGETS))["inputs"])


def test_missing_inputs_are_zero_and_indicated(sheet):
    rows = table()
    problem = Tabular(sheet(rows), TARGETS)
    gone = [int(problem.splits[split][0]) for split in ("train", "val")]
    for row in gone:
        rows[row][0] = "NaN"
    problem = Tabular(sheet(rows), TARGETS)
    for split in ("train", "val"):
        inputs = tables(problem, split)["inputs"]
        assert inputs.shape[1] == 3 + 3
        assert inputs[0, :2].tolist() == [0, 1]
        assert not inputs[1:, 1].any()
        assert inputs[1:, 0].all()


def test_categories_are_those_of_the_training_rows(sheet):
    rows = table()
    problem = Tabular(sheet(rows), TARGETS)
    rows[int(problem.splits["val"][0])][2] = "Atlantis"
    rows[int(problem.splits["train"][0])][2] = "?"
    problem = Tabular(sheet(rows), TARGETS)
    for split, first in (("train", 0), ("val", 0)):
        hot = tables(problem, split)["inputs"][:, 2:]
        assert hot.shape[1] == 3
        assert hot[first].sum() == 0
        assert (hot[1:].sum(1) == 1).all()


def test_a_column_that_never_varies_in_training_says_nothing(sheet):
    rows = [[*row, "0.1"] for row in table()]
    header = [*HEADER, "constant"]
    problem = Tabular(sheet(rows, header), TARGETS)
    rows[int(problem.splits["val"][0])][-1] = "5"
    problem = Tabular(sheet(rows, header), TARGETS)
    assert not any(tables(problem, split)["inputs"][:, -1].any() for split in ("train", "val"))


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


def test_rows_without_any_label_are_left_out(sheet):
    rows = table(100)
    for row in rows[:50]:
        row[3:] = ["", "NA", "nan"]
    problem = Tabular(sheet(rows), TARGETS)
    assert sorted(torch.cat(list(problem.splits.values())).tolist()) == list(range(50, 100))


def test_splits_depend_on_split_seed_alone(sheet):
    path = sheet(table())
    one, same, other = Tabular(path, TARGETS), Tabular(path, TARGETS), Tabular(path, TARGETS, split_seed=1)
    columns = [p.datasets(seed)["train"].columns["inputs"] for p, seed in ((one, 0), (same, 5), (other, 0))]
    assert torch.equal(columns[0], columns[1])
    assert not torch.equal(columns[0], columns[2])
    assert [len(d) for d in one.datasets(0).values()] == [72, 24, 24]
    assert set(Tabular(path, TARGETS, test=0).datasets(0)) == {"train", "val"}


def test_folds_validate_each_row_once_and_fit_to_their_own_training_rows(sheet):
    rows = table(missing=0.1)
    problem = Tabular(sheet(rows), TARGETS)
    rare = int(problem.splits["train"][0])
    rows[rare][2] = "Atlantis"
    problem = Tabular(sheet(rows), TARGETS)
    whole = problem.datasets(0)
    folds = problem.folds(4, seed=0)
    assert [len(fold["val"]) for fold in folds] == [len(whole["train"]) // 3] * 4
    assert all(len(fold["train"]) + len(fold["val"]) == len(whole["train"]) + len(whole["val"]) for fold in folds)
    unknown = 0
    for fold in folds:
        assert fold["test"].columns["inputs"].shape == whole["test"].columns["inputs"].shape
        assert torch.equal(fold["test"].columns["target grade"], whole["test"].columns["target grade"])
        inputs, present = fold["train"].columns["inputs"], fold["train"].columns["present income"]
        assert inputs[:, 0].mean().item() == pytest.approx(0, abs=1e-5)
        labels = fold["train"].columns["target income"][present]
        assert (labels.mean().item(), labels.std(correction=0).item()) == pytest.approx((0, 1), abs=1e-5)
        atlantis = [part.columns["inputs"][:, 4].sum().item() for part in (fold["train"], fold["val"])]
        unknown += atlantis == [0, 0]
        assert atlantis in ([1, 0], [0, 0])
    assert unknown == 1
    again = problem.folds(4, seed=0)
    assert torch.equal(again[2]["val"].columns["inputs"], folds[2]["val"].columns["inputs"])
    assert not torch.equal(problem.folds(4, seed=1)[2]["val"].columns["inputs"], folds[2]["val"].columns["inputs"])


def test_files_as_people_have_them(sheet):
    rows = table()
    plain = tables(Tabular(sheet(rows), TARGETS))
    lines = [";".join(["", *HEADER]), "", *(";".join([str(i), *row]) for i, row in enumerate(rows)), "", ""]
    exported = Tabular(sheet("\ufeff" + "\r\n".join(lines)), TARGETS)
    assert all(torch.equal(plain[name], column) for name, column in tables(exported).items())
    named = [[*row, "x"] for row in rows]
    spaced = Tabular(sheet(named, ["age", "hours", "city", "Income (EUR)", "grade", "left", "n"]), "Income (EUR)")
    assert (spaced.terms, spaced.metrics) == ({"Income_EUR": "mse"}, {"Income_EUR_mse": "min"})
    chosen = Tabular(sheet(rows), ["income"], inputs=["hours"], ignore=["age"])
    assert chosen.inputs.width == 1
    assert Tabular(sheet(rows), ["income"], ignore=["age", "city", "grade", "left"]).inputs.width == 1


def test_a_file_that_changed_is_read_again(sheet):
    rows = table()
    before = Tabular(sheet(rows), TARGETS)
    assert len(Tabular(sheet(rows[:100]), TARGETS).splits["train"]) < len(before.splits["train"])


def few(**cells):
    rows = table(40)
    for at, text in cells.items():
        name, _, row = at.rpartition("_")
        rows[int(row)][HEADER.index(name)] = text
    return rows


def column(name, cells):
    rows = table(40)
    for i, row in enumerate(rows):
        row[HEADER.index(name)] = cells[i % len(cells)]
    return rows


def rare(text, count):
    rows = table(40)
    for row in rows[:count]:
        row[HEADER.index("income")] = text
    return rows


@pytest.mark.parametrize(
    ("rows", "given", "says"),
    [
        ("", {}, "A CSV file must begin with the names of its columns, but '.*my.csv' does not."),
        ("income,x\n", {}, "A CSV file must have rows, but '.*my.csv' has none."),
        ("x,income,x\n1,2,3\n", {}, "Columns must have distinct names, but several of '.*my.csv' are called 'x'."),
        ("x,income\n1,2\n1\n", {}, "as many cells as the header, 2, but line 3 of '.*my.csv' has 1."),
        ("x,income\n1,2\n\n1,2,3\n", {}, "as many cells as the header, 2, but line 4 of '.*my.csv' has 3."),
        ("income\n1\n2\n", {}, "There must be inputs, but every column is a target or ignored."),
        ("x,income\n,1\n,1\n,2\n,2\n,1\n,2\n,1\n,2", {}, "Inputs must hold values in the training rows, but"),
        (few(), {"targets": ["incom"]}, "No column is called 'incom'. Did you mean 'income'?"),
        (few(), {"inputs": ["agee"]}, "No column is called 'agee'. Did you mean 'age'?"),
        (few(), {"ignore": ["agee"]}, "No column is called 'agee'. Did you mean 'age'?"),
        (few(), {"inputs": ["age", "income"]}, "A column must be a target or an input, but 'income' is both."),
        (few(), {"targets": []}, "`targets` must name columns, but it is empty."),
        (column("income", ["", "NA"]), {}, "A target must have labels, but every cell of 'income' is missing."),
        (column("income", ["low"]), {}, "A target must have two classes, but 'income' has one, 'low'."),
        (column("income", ["3"]), {"kinds": {"income": "regression"}}, "must have different values, but every one of"),
        (few(income_7="1,000"), {}, "must hold finite numbers, but line 9 of column 'income' has '1,000'. Add it to"),
        (few(age_7="abc"), {}, "must hold finite numbers, but line 9 of column 'age' has 'abc'."),
        (few(age_7="inf"), {}, "must hold finite numbers, but line 9 of column 'age' has 'inf'."),
        (few(age_7="1_0"), {}, "must hold finite numbers, but line 9 of column 'age' has '1_0'."),
        (few(), {"kinds": {"city": "numeric"}}, "must hold finite numbers, but line 2 of column 'city' has"),
        (
            few(),
            {"targets": ["grade"], "kinds": {"grade": "binary"}},
            "two classes, but 'grade' has 3: high, low, mid.",
        ),
        (
            few(),
            {"kinds": {"income": "multiclass"}},
            "two labels each on average, but the 40 labels of 'income' have 40",
        ),
        (
            few(),
            {"kinds": {"income": "regresion"}},
            "No kind of target is called 'regresion'. Did you mean 'regression'?",
        ),
        (few(), {"kinds": {"age": "number"}}, "No kind of input is called 'number'. Did you mean 'numeric'?"),
        (few(), {"kinds": {"incom": "binary"}}, "No column is called 'incom'. Did you mean 'income'?"),
        (
            few()[:2],
            {"kinds": {"income": "regression"}},
            "The val split must have a label .* its 0 rows have none of 'income'",
        ),
        (rare("", 39), {"kinds": {"income": "regression"}}, "A target must have different values"),
        (rare("", 38), {"kinds": {"income": "regression"}}, "split must have .* rows have (none|one) of 'income'"),
        (rare("7", 39), {"kinds": {"income": "regression"}, "split_seed": 6}, "train split must have different labels"),
        (few(), {"val": 0.9}, "their sum below 1, but val=0.9, test=0.2."),
        (few(), {"val": 0}, "`val` must be above 0"),
        (few(), {"val": "half"}, "`val` must be above 0"),
        (few(), {"split_seed": 0.5}, "`split_seed` must be a whole number, but split_seed=0.5."),
        (few(), {"hidden": []}, "`hidden` must have widths of at least 1, but hidden=.]."),
        (few(), {"hidden": [0]}, "`hidden` must have widths of at least 1, but hidden=.0]."),
    ],
)
def test_a_table_that_cannot_be_used_is_named_in_one_sentence(sheet, rows, given, says):
    with pytest.raises(AutolossError, match=says) as caught:
        Tabular(sheet(rows), **{"targets": ["income"], **given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("problem.csv=nowhere.csv", "`csv` must be a file, but there is no file 'nowhere.csv'."),
        ("problem.targets=[incom]", "No column is called 'incom'. Did you mean 'income'?"),
        ("problem.targets=incom", "No column is called 'incom'. Did you mean 'income'?"),
        ("problem.kinds.incom=binary", "No column is called 'incom'. Did you mean 'income'?"),
        ("'problem.kinds={incom: binary}'", "No column is called 'incom'. Did you mean 'income'?"),
        ("problem.kidns.income=binary", "No parameter of problem 'tabular' is called 'kidns'. Did you mean 'kinds'?"),
        ("losses.incom=huber", "No loss is called 'incom'. Did you mean 'income'?"),
        ("losses.incom.delta=2", "No loss is called 'incom'. Did you mean 'income'?"),
        ("losses.income=hubr", "No loss is called 'hubr'. Did you mean 'huber'?"),
        ("losses.income=huber losses.income.delt=2", "No key is called 'losses.income.delt'. Did you mean"),
        ("losses.income.delta=2", "No parameter of loss 'mse' is called 'delta'."),
        ("base.incom=2", "No loss is called 'incom'. Did you mean 'income'?"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(sheet, mistaken, tmp_path, arguments, says):
    sheet(few())
    code, _, err = mistaken(f"train problem=tabular problem.csv=my.csv problem.targets=[income] {arguments}")
    assert code == 2
    assert says in err
    assert err.startswith("autoloss: ")
    assert err.count("\n") == 1, err
    assert not (tmp_path / "outputs").exists()


def test_further_files_that_cannot_be_used(sheet, tmp_path):
    (tmp_path / "latin.csv").write_bytes("x,t\nZürich,1\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="must be text in UTF-8"):
        Tabular(str(tmp_path / "latin.csv"), ["t"])
    with pytest.raises(ConfigError, match="can be read, but .* Is a directory"):
        Tabular(str(tmp_path), ["t"])
    path = sheet([[f"name {i}", str(i % 2)] for i in range(2000)], ["who", "t"])
    with pytest.raises(ConfigError, match="at most 1000 categories, but 'who' has 1200. Leave it out"):
        Tabular(path, ["t"])
    path = sheet([[str(i), str(i % 2), str(i % 3)] for i in range(60)], ["x", "a b", "a-b"])
    with pytest.raises(ConfigError, match="distinct names of losses, but they give"):
        Tabular(path, ["a b", "a-b"])
    with pytest.raises(
        ConfigError, match="number of folds must lie between 2 and the number of rows, but it is 1 for 48"
    ):
        Tabular(path, ["a b"]).folds(1, seed=0)


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
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
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
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "limit_val_batches": 0}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, log_every_n_steps=1, **quiet)
    before = [p.clone() for p in module.network.parameters()]
    tables = problem.datasets(0)
    trainer.fit(module, loader(tables["train"], 16, 0, shuffle=True), loader(tables["val"], 16, 0, shuffle=False))
    assert module.forked
    assert all(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))

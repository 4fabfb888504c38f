"""Any CSV file as a problem."""

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.core.grouped_problem import GroupedProblem
from autoloss.problems.tabular import Tabular
from tests.problems.sheets import HEADER, TARGETS, table, tables


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


def test_the_values_of_a_column_are_groups(sheet):
    rows = [[str(i * 1.5 % 7), ("north", "so uth", "")[i % 3], str(i % 2)] for i in range(60)]
    path = sheet(rows, ["x", "region", "t"])
    assert Tabular(path, ["t"]).groups == {}
    problem = Tabular(path, ["t"], keys="region", ignore="region")
    assert problem.groups == {"region": ("north", "so_uth", "missing")}
    assert problem.width == 1  # not an input
    for data in problem.datasets(0).values():
        outputs = problem.outputs(problem.network(), data.columns)
        assert set(outputs.keys) == {"region"}
        assert outputs.keys["region"].dtype == torch.int64
    codes = torch.cat([data.columns["region"] for data in problem.datasets(0).values()])
    assert torch.bincount(codes).tolist() == [20, 20, 20]
    assert Tabular(path, ["t"], keys="region").width == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([str(i) for i in range(101)], "from 2 to 100 different values, but 'k' has 101"),
        (["same"], "'k' has 1"),
        (["a b", "a_b"], "distinct names"),
    ],
)
def test_a_column_that_makes_no_groups_is_refused(sheet, values, said):
    rows = [[str(i * 1.5 % 7), values[i % len(values)], str(i % 2)] for i in range(202)]
    with pytest.raises(ConfigError, match=said):
        Tabular(sheet(rows, ["x", "k", "t"]), ["t"], keys=["k"])


@pytest.mark.parametrize("size", [7, 60])
def test_metrics_of_groups_count_the_rows_that_have_a_label(sheet, size):
    rows = [[str(i * 1.5 % 7), "ab"[i % 2], "" if i % 5 == 0 else str(i % 3 / 2)] for i in range(60)]
    inner = Tabular(sheet(rows, ["x", "k", "t"]), ["t"], keys="k", ignore="k", kinds={"t": "regression"})
    problem = GroupedProblem(inner, "k", inner.groups["k"])
    data, network = problem.datasets(0)["train"].columns, inner.network()
    sums, values = {}, []
    for start in range(0, len(data["k"]), size):
        outputs = problem.outputs(network, {name: x[start : start + size] for name, x in data.items()})
        values.append(problem.measure(outputs)["t_mse"].detach())
        for tag, x in problem.tally(outputs).items():
            sums[tag] = sums.get(tag, 0) + x.detach()
    found, labelled = problem.conclude(sums), data["k"] if "present t" not in data else data["k"][data["present t"]]
    every = torch.cat(values)
    assert len(every) == len(labelled)
    for code, name in enumerate("ab"):
        assert found[f"t_mse_{name}"] == pytest.approx(float(every[labelled == code].mean()), rel=1e-5)


def test_groups_of_a_column_must_be_all_named_and_trained(sheet):
    rows = [[str(i * 1.5 % 7), "abc"[i % 3], str(i % 2)] for i in range(60)]
    inner = Tabular(sheet(rows, ["x", "k", "t"]), ["t"], keys="k")
    with pytest.raises(ConfigError, match="must be numbered from 0 to 1"):
        GroupedProblem(inner, "k", ["a", "b"], ["t"]).datasets(0)
    with pytest.raises(ConfigError, match="must not be 'worst'"):
        GroupedProblem(inner, "k", ["a", "b", "worst"])

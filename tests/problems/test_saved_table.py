"""What is saved with a table's model predicts the same without the table, also for cells that training never saw."""

import math
import random

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.problems._saved_table import PROBABILITY, SavedTable
from autoloss.problems.tabular import Tabular

CLASSES = ["low", "mid", "high"]


@pytest.fixture
def table(tmp_path):
    """A table with gaps, text and numbers as categories, and a constant column."""
    draw, file = random.Random(0), tmp_path / "table.csv"
    rows = ["size,city,floor,constant,price,sold,grade"]
    for _ in range(150):
        size = "" if draw.random() < 0.1 else f"{draw.gauss(100, 20):.2f}"
        city = draw.choice(["Bern", "Basel", "Genf", "NA"])
        price = draw.gauss(500, 100)
        sold = "" if draw.random() < 0.1 else draw.choice(["yes", "no"])
        rows.append(f"{size},{city},{draw.randint(0, 3)},7,{price:.2f},{sold},{draw.choice(CLASSES)}")
    file.write_text("\n".join(rows) + "\n")
    return Tabular(str(file), ["price", "sold", "grade"], kinds={"floor": "categorical"}, hidden=[8])


def columns_of(problem, rows, sheet):
    return {name: [sheet[name][row] for row in rows] for name in ("size", "city", "floor", "constant")}


@pytest.fixture
def sheet(table, tmp_path):
    lines = [line.split(",") for line in (tmp_path / "table.csv").read_text().splitlines()]
    return {name: [line[i] for line in lines[1:]] for i, name in enumerate(lines[0])}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_inputs_are_encoded_as_in_training(table, sheet, split):
    rows, saved = table.splits[split], SavedTable.read(table.saved_state())
    columns = saved._columns(columns_of(table, rows.tolist(), sheet))
    encoded = torch.cat([one.encoded(columns[one.name]) for one in saved.inputs], dim=1)
    assert torch.equal(encoded, table.datasets(0)[split].columns["inputs"])
    assert saved.width == table.width


def test_predictions_are_the_outputs_of_training_in_units_and_classes(table, sheet):
    network, batch = table.network().eval(), table.datasets(0)["test"].columns
    outputs = table.outputs(network, batch)
    rows = table.splits["test"].tolist()
    with torch.no_grad():
        found = table.predict(network, columns_of(table, rows, sheet))
    labels = table.targets[0].labels[table.splits["train"]]
    price = outputs.term("price").prediction.squeeze(1).double() * labels.std(correction=0) + labels.mean()
    assert found["price"] == pytest.approx(price.tolist(), rel=1e-6)
    assert found["sold"] == [["no", "yes"][int(x > 0)] for x in outputs.term("sold").prediction.squeeze(1)]
    logits = outputs.term("grade").prediction
    assert found["grade"] == [sorted(CLASSES)[i] for i in logits.argmax(1).tolist()]
    assert found["grade" + PROBABILITY] == pytest.approx(logits.softmax(1).amax(1).tolist(), rel=1e-5)
    assert all(0.5 <= p <= 1 for p in found["sold" + PROBABILITY])


def test_a_restored_problem_has_the_same_network_and_predictions_without_the_file(table, sheet, tmp_path):
    network, cells = table.network().eval(), columns_of(table, range(20), sheet)
    (tmp_path / "table.csv").unlink()
    again = Tabular.restored(table.saved_state(), {})
    assert (again.terms, again.metrics) == (table.terms, table.metrics)
    other = again.network()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert again.predict(other.eval(), cells) == table.predict(network, cells)
    assert again.saved_state() == table.saved_state()
    with pytest.raises(ConfigError, match="a loaded model holds none"):
        again.datasets(0)


def test_an_unseen_category_counts_as_none_and_is_told(table, sheet):
    network, cells = table.network().eval(), columns_of(table, range(3), sheet)
    with torch.no_grad():
        none = table.predict(network, {**cells, "city": [None, "", "na"]})
        with pytest.warns(UserWarning, match=r"'city' has categories that the training data lack.*'Zug'"):
            unseen = table.predict(network, {**cells, "city": ["Zug", "Ulm", "Zug"]})
    assert unseen == none


def test_missing_cells_of_a_data_frame_are_missing(table, sheet):
    network, cells = table.network().eval(), columns_of(table, range(2), sheet)
    with torch.no_grad():
        found = [table.predict(network, {**cells, "size": [gap, 90.0]}) for gap in ("", None, math.nan)]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": None, "city": None}, "there is no column 'size', 'city' in the samples"),
        ({"size": ["a lot", "3"]}, "line 1 of column 'size' has 'a lot'"),
        ({"size": ["3"]}, "Every column must have as many cells"),
    ],
    ids=["lacking", "text", "short"],
)
def test_what_cannot_be_predicted_is_one_sentence(table, sheet, change, said):
    cells = {**columns_of(table, range(2), sheet), **change}
    with pytest.raises(ConfigError, match=said):
        table.predict(table.network(), {name: of for name, of in cells.items() if of is not None})


def test_columns_may_stand_in_any_order_beside_others(table, sheet):
    network, cells = table.network().eval(), columns_of(table, range(5), sheet)
    mixed = {"other": ["?"] * 5, **dict(reversed(cells.items()))}
    with torch.no_grad():
        assert table.predict(network, mixed) == table.predict(network, cells)


def test_decimal_commas_and_dates_are_read_as_in_training(tmp_path):
    draw, file = random.Random(1), tmp_path / "commas.csv"
    rows = [f"{draw.gauss(3, 1):.3f};{1 + i % 28:02d}.0{1 + i % 9}.2024;{draw.gauss(0, 1):.4f}" for i in range(80)]
    file.write_text("size;day;y\n" + "\n".join(row.replace(".", ",", 1) for row in rows) + "\n")
    problem = Tabular(str(file), ["y"], kinds={"y": "regression"}, decimal="auto")
    saved = SavedTable.read(problem.saved_state())
    assert [one.decimal for one in saved.inputs] == [",", "."]
    assert saved.inputs[1].order == "dmy"
    columns = saved._columns(file)
    encoded = torch.cat([one.encoded(columns[one.name]) for one in saved.inputs], dim=1)
    for split, table in problem.datasets(0).items():
        assert torch.equal(encoded[problem.splits[split]], table.columns["inputs"])

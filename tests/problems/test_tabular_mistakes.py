"""Tables and settings that cannot be used."""

import pytest

from autoloss.core.errors import AutolossError, ConfigError
from autoloss.problems.tabular import Tabular
from tests.problems.sheets import HEADER, table


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
    with pytest.raises(ConfigError, match="`encoding` must be that of the file, but .* is not in utf-8"):
        Tabular(str(tmp_path / "latin.csv"), ["t"], encoding="utf-8")
    with pytest.raises(ConfigError, match="an encoding that Python knows, but it is 'utf-9'"):
        Tabular(str(tmp_path / "latin.csv"), ["t"], encoding="utf-9")
    with pytest.raises(ConfigError, match="`decimal` must be '.', ',' or auto, but it is ';'"):
        Tabular(str(tmp_path / "latin.csv"), ["t"], decimal=";")
    (tmp_path / "binary.csv").write_bytes(b"x,t\n\0\1\2,1\n")
    with pytest.raises(ConfigError, match="must be a text file, but it has bytes that no text has"):
        Tabular(str(tmp_path / "binary.csv"), ["t"])
    (tmp_path / "spaces.csv").write_text("x t\n1 2\n")
    with pytest.raises(ConfigError, match="separated by a comma, .*none of them: 'x t'. Perhaps its separator is ' '"):
        Tabular(str(tmp_path / "spaces.csv"), ["t"])
    (tmp_path / "damaged.parquet").write_text("x t\n1 2\n")
    with pytest.raises(ConfigError, match="(needs PyArrow, but it is not installed|must be a Parquet file, but)"):
        Tabular(str(tmp_path / "damaged.parquet"), ["t"])
    with pytest.raises(ConfigError, match="can be read, but .* Is a directory"):
        Tabular(str(tmp_path), ["t"])
    path = sheet([[f"name {i}", str(i % 2)] for i in range(2000)], ["who", "t"])
    with pytest.raises(ConfigError, match="not different in every row, but 'who' has text with 2000 different values"):
        Tabular(path, ["t"])
    with pytest.raises(ConfigError, match="at most 1000 categories, but 'who' has 1200. Leave it out"):
        Tabular(path, ["t"], kinds={"who": "categorical"})
    path = sheet([[str(i), str(i % 2), str(i % 3)] for i in range(60)], ["x", "a b", "a-b"])
    with pytest.raises(ConfigError, match="distinct names of losses, but they give"):
        Tabular(path, ["a b", "a-b"])
    with pytest.raises(
        ConfigError, match="number of folds must lie between 2 and the number of rows, but it is 1 for 48"
    ):
        Tabular(path, ["a b"]).folds(1, seed=0)

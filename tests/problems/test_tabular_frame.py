"""DataFrames, other tables in memory, and Parquet."""

import sys
from types import ModuleType, SimpleNamespace

import pandas
import pytest

import autoloss
from autoloss.core.errors import ConfigError
from autoloss.problems._sheet import sheet_of
from autoloss.problems.tabular import Tabular
from tests.problems.sheets import HEADER, TARGETS, same, table


@pytest.mark.filterwarnings("ignore")
def test_a_dataframe_is_read_as_its_file(sheet, tmp_path):
    rows = table(missing=0.2)
    path = sheet(rows)
    frame = pandas.read_csv(path, skipinitialspace=True)
    frame["day"] = pandas.date_range("2020-01-01", periods=len(frame))
    frame.to_csv(path, index=False)
    plain = Tabular(path, TARGETS)
    for one in (frame, frame.to_dict(orient="list"), SimpleNamespace(to_pydict=lambda: frame.to_dict(orient="list"))):
        assert same(autoloss.tabular(one, TARGETS), plain)
    assert same(autoloss.tabular(frame, targets="income", ignore=["grade"]), Tabular(path, "income", ignore=["grade"]))
    frame["flag"] = pandas.array([True, None] * 60, dtype="boolean")
    assert sheet_of(frame).columns["flag"][:2] == ("True", "")


@pytest.mark.parametrize(
    ("table_", "says"),
    [
        ("a,b", "must be a DataFrame or a mapping of columns, but it is str"),
        ({}, "must have columns and rows, but a table has 0 and 0"),
        ({"x": [], "t": []}, "must have columns and rows, but a table has 2 and 0"),
        ({"x": [1], "t": [1, 2]}, "equally many cells, but they have {'x': 1, 't': 2}"),
        (pandas.DataFrame([[1, 2]], columns=["x", "x"]), "distinct names, but several of a table are called 'x'"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(table_, says):
    with pytest.raises(ConfigError, match=says):
        autoloss.tabular(table_, "t")


def test_parquet_goes_through_pyarrow(sheet, tmp_path, monkeypatch):
    """A stand-in for PyArrow where it is not installed: it holds the columns with their types."""
    rows = table()
    columns = {name: [row[i] for row in rows] for i, name in enumerate(HEADER)}
    columns["age"] = [float(cell) for cell in columns["age"]]
    path = tmp_path / "my.parquet"
    try:
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), path)
    except ImportError:
        path.write_bytes(b"PAR1")
        fake, inner = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
        fake.ArrowException, fake.parquet = ValueError, inner
        inner.read_table = lambda where: SimpleNamespace(to_pydict=lambda: columns)
        monkeypatch.setitem(sys.modules, "pyarrow", fake)
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", inner)
    assert same(Tabular(str(path), TARGETS), Tabular(sheet(rows), TARGETS))

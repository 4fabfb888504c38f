"""Files as people have them: encodings, separators, decimal commas, dates, identifiers, gaps."""

import string
from datetime import datetime, timedelta, timezone

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoloss.core.errors import ConfigError
from autoloss.problems._reading import days_of, reading_of
from autoloss.problems._sheet import DELIMITERS, read_sheet
from autoloss.problems.tabular import Tabular
from tests.problems.sheets import HEADER, TARGETS, same, table, tables

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_encoding_and_separator_are_found_out(tmp_path, sheet, encoding, delimiter, ending):
    rows = [[*row[:2], row[2].replace("Rome", "Zürich"), *row[3:]] for row in table()]
    path = tmp_path / "exported.csv"
    path.write_bytes(ending.join(delimiter.join(row) for row in [HEADER, *rows]).encode(encoding))
    (tmp_path / "plain").mkdir()
    plain = tmp_path / "plain" / "plain.csv"
    plain.write_text("\n".join(",".join(row) for row in [HEADER, *rows]), encoding="utf-8")
    assert read_sheet(str(path)).columns == read_sheet(str(plain)).columns
    assert same(Tabular(str(path), TARGETS), Tabular(str(plain), TARGETS))


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.text(string.ascii_letters + "äöüßéñ ,;|\t'-", min_size=1, max_size=8), min_size=2, max_size=20),
    encoding=st.sampled_from(ENCODINGS),
)
def test_what_a_spreadsheet_writes_is_read_back(tmp_path_factory, cells, encoding):
    """With quotes around cells that hold a separator."""
    path = tmp_path_factory.mktemp("csv") / "odd.csv"
    quoted = "\n".join(f'"{cell}";{i}' for i, cell in enumerate(cells))
    path.write_bytes(f'"a, b";n\n{quoted}\n'.encode(encoding))
    found = read_sheet(str(path))
    assert found.columns == {"a, b": tuple(cell.strip() for cell in cells), "n": tuple(map(str, range(len(cells))))}
    assert found.delimiter == ";"


def test_a_first_line_that_names_the_separator_is_none_of_the_header(sheet):
    path = sheet("sep=|\r\nx|a,b,c,d\r\n1|2\r\n3|4\r\n")
    assert read_sheet(path).columns == {"x": ("1", "3"), "a,b,c,d": ("2", "4")}
    assert read_sheet(path).lines == (3, 4)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_decimal_commas_are_decimals_where_commas_do_not_separate(sheet, delimiter):
    rows = table()
    plain = Tabular(sheet(rows), TARGETS)
    commas = [[cell.replace(".", ",") for cell in row] for row in rows]
    text = "\n".join(delimiter.join(row) for row in [HEADER, *commas])
    assert same(Tabular(sheet(text, name="commas.csv"), TARGETS), plain)
    # With points between thousands, as the income of 1.234,5.
    for row in commas:
        euro, _, cent = row[3].partition(",")
        row[3] = f"{int(euro):,}".replace(",", ".") + f",{cent}"
    text = "\n".join(delimiter.join(row) for row in [HEADER, *commas])
    assert same(Tabular(sheet(text, name="thousands.csv"), TARGETS), plain)


def test_numbers_with_commas_in_a_file_of_commas_are_read_as_said(sheet):
    rows = table()
    plain = Tabular(sheet(rows), TARGETS)
    english = [[*row[:3], f"{float(row[3]):,.1f}", *row[4:]] for row in rows]
    path = sheet(english, name="english.csv")
    assert same(Tabular(path, TARGETS, decimal="."), plain)
    german = [[cell.replace(".", ",") for cell in row] for row in rows]
    path = sheet(german, name="german.csv")
    assert same(Tabular(path, TARGETS, decimal=","), plain)
    inputs = Tabular(path, ["grade", "left"])
    assert "'hours': read as text, and could be numbers with commas: set `problem.decimal`" in inputs.data_card()


@pytest.mark.parametrize(
    ("cells", "delimiter", "decimal", "read"),
    [
        (["1,5", "2"], ";", "auto", ["1.5", "2"]),
        (["1.234,5", "2.000"], ";", "auto", ["1234.5", "2000"]),
        (["1.234", "2.000"], ";", "auto", ["1.234", "2.000"]),
        (["-0,5", "+1,25", ",5", "1,5e3"], "\t", "auto", ["-0.5", "+1.25", ".5", "1.5e3"]),
        (["1,5", "2"], ",", "auto", ["1,5", "2"]),
        (["1,234", "12,000,000.5", "7"], ",", ".", ["1234", "12000000.5", "7"]),
        (["1,5", "low"], ";", "auto", ["1,5", "low"]),
        (["Oslo, N", "Rome, I"], ";", "auto", ["Oslo, N", "Rome, I"]),
    ],
)
def test_decimal_signs(cells, delimiter, decimal, read):
    reading = reading_of(cells, delimiter, decimal)
    assert [reading.cell(cell) for cell in cells] == read
    assert reading_of(cells, delimiter, decimal, "categorical").cell(cells[0]) == cells[0]


def test_a_comma_that_could_be_either_is_named():
    assert "could separate thousands" in reading_of(["1,000", "12,500"], ";").doubt
    assert reading_of(["1,000", "12,50"], ";").doubt == ""
    assert reading_of(["0,125", "1,250"], ";").doubt == ""
    assert reading_of(["1,000", "12,500"], ";", ",").doubt == ""


FORMS = {"ymd": ("%Y-%m-%d", "%Y/%m/%d %H:%M:%S"), "dmy": ("%d.%m.%Y", "%d-%m-%Y %H:%M"), "mdy": ("%m/%d/%Y",)}


@settings(max_examples=100, deadline=None)
@given(
    moment=st.datetimes(datetime(1600, 1, 1), datetime(2400, 1, 1)),
    order=st.sampled_from(sorted(FORMS)),
    which=st.integers(0, 1),
)
def test_days_are_those_of_the_calendar(moment, order, which):
    form = FORMS[order][min(which, len(FORMS[order]) - 1)]
    text = moment.strftime(form)
    assert days_of(text, order) == (datetime.strptime(text, form) - datetime(1970, 1, 1)) / timedelta(days=1)


@settings(max_examples=60, deadline=None)
@given(moment=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), minutes=st.integers(-720, 840))
def test_a_time_with_an_offset_is_taken_to_utc(moment, minutes):
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = local.timestamp() / 86400
    assert days_of(local.isoformat(), "ymd") == pytest.approx(expected, abs=1e-9)


def dated(form, count=60, step=13):
    start = datetime(2020, 1, 31, 12, 30)
    days = [start + timedelta(days=step * i) for i in range(count)]
    return [[day.strftime(form), str(i % 3), f"{i * 1.7 % 5:.2f}"] for i, day in enumerate(days)], days


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y %H:%M"]
)
def test_a_column_of_dates_is_one_number_of_days(sheet, form):
    rows, days = dated(form)
    problem = Tabular(sheet(rows, ["day", "grade", "x"]), "grade")
    assert problem.inputs.width == 2
    moments = torch.tensor([(day - datetime(1970, 1, 1)).days for day in days], dtype=torch.float64)
    train = problem.splits["train"]
    expected = (moments - moments[train].mean()) / moments[train].std(correction=0)
    torch.testing.assert_close(tables(problem)["inputs"][:, 0], expected[train].float(), rtol=1e-4, atol=2e-3)
    assert "input   day    date" in problem.data_card()
    as_text = Tabular(sheet(rows, ["day", "grade", "x"]), "grade", kinds={"day": "categorical"})
    assert as_text.inputs.width == 1 + len(as_text.splits["train"])


def test_few_dates_are_classes_and_dates_are_not_mixed_with_text(sheet):
    rows = [[f"2020-01-0{i % 9 + 1}", str(i % 3)] for i in range(60)]
    assert Tabular(sheet(rows, ["day", "t"]), "t").inputs.width == 9
    assert Tabular(sheet(rows, ["day", "t"]), "t", kinds={"day": "date"}).inputs.width == 1
    rows, _ = dated("%d.%m.%Y")
    rows[4][0] = "soon"
    with pytest.raises(ConfigError, match="line 6 of column 'day' has 'soon'. Add it to `missing`"):
        Tabular(sheet(rows, ["day", "t", "x"]), "t")
    assert Tabular(sheet(rows, ["day", "t", "x"]), "t", missing="soon").inputs.width in (2, 3)
    rows = [[f"0{i % 9 + 1}/0{i % 7 + 1}/2020", str(i % 3)] for i in range(60)]
    card = Tabular(sheet(rows, ["day", "t"]), "t").data_card()
    assert "'day': its dates were read as month day year, and could be day month year." in card


def test_missing_adds_to_its_list(sheet):
    rows = table()
    for row, cell in zip(rows, ["-", "NA", "none ", "?"], strict=False):
        row[0] = cell
    problem = Tabular(sheet(rows), TARGETS, missing=["-", "None"])
    column = problem.column(problem.sheet(sheet(rows), "auto"), "age")
    assert column.cells[:5] == [None] * 4 + [rows[4][0]]
    with pytest.raises(ConfigError, match="line 2 of column 'age' has '-'. Add it to `missing`"):
        Tabular(sheet(rows), TARGETS)


def test_a_value_of_the_list_may_be_one(sheet):
    rows = [[["NA", "DE", "FR"][i % 3], str(i % 2)] for i in range(60)]
    path = sheet(rows, ["country", "t"])
    assert Tabular(path, "t").inputs.width == 2
    assert Tabular(path, "t", not_missing=["NA"]).inputs.width == 3


def test_text_that_is_different_in_each_row_is_ignored_and_said(sheet):
    rows = [[*row, f"name {i}"] for i, row in enumerate(table())]
    header = [*HEADER, "name"]
    plain, named = Tabular(sheet(table()), TARGETS), Tabular(sheet(rows, header, "named.csv"), TARGETS)
    assert same(named, plain)
    assert "ignored  name    " in named.data_card()
    assert "text with 120 different values in 120 rows" in named.data_card()
    wanted = {"kinds": {"name": "categorical"}}, {"inputs": ["age", "hours", "city", "name"]}
    for given_ in wanted:
        assert Tabular(sheet(rows, header, "named.csv"), TARGETS, **given_).inputs.width == plain.inputs.width + 72


@pytest.mark.parametrize(("different", "ignored"), [(100, True), (91, True), (90, False), (60, False)])
def test_text_is_ignored_if_more_than_nine_in_ten_cells_are_different(sheet, different, ignored):
    rows = [[f"{i * 1.7 % 5:.2f}", f"name {i % different}", str(i % 3)] for i in range(100)]
    problem = Tabular(sheet(rows, ["x", "name", "t"]), "t", test=0)
    assert (problem.inputs.width == 1) == ignored
    assert ("'name' is text with" in problem.data_card()) == (problem.inputs.width > 51)


def test_seven_columns_of_an_export_do_not_become_hundreds_of_inputs(sheet):
    start = datetime(2024, 1, 1, 8)
    rows = []
    for i in range(400):
        at, day = (start + timedelta(hours=7 * i)).isoformat(" "), (start + timedelta(days=i)).strftime("%d.%m.%Y")
        who = [f"{i:08x}-ab", f"Person {i}", f"p{i}@example.org"]
        rows.append([*who, at, day, f"{i * 37 % 101},5", ["a", "b"][i % 2], str(i % 3)])
    text = "\n".join(";".join(row) for row in [["key", "name", "mail", "at", "day", "paid", "plan", "t"], *rows])
    problem = Tabular(sheet(text), "t")
    assert problem.inputs.width == 1 + 1 + 1 + 2


CELL = st.sampled_from(
    ["", "1", "2,5", "1.000", "x", "2020-01-02", "NA", "1e3", " y ", "31.12.1999", "1,000", "-", '"']
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, st.sampled_from(["a", "b", "c", ""])), min_size=10, max_size=60),
    delimiter=st.sampled_from(DELIMITERS),
    decimal=st.sampled_from(["auto", ".", ","]),
)
def test_an_odd_table_is_read_or_named(tmp_path_factory, rows, delimiter, decimal):
    path = tmp_path_factory.mktemp("odd") / "odd.csv"
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [["a", "b", "t"], *rows]]
    path.write_text("\n".join(quoted) + "\n")
    try:
        problem = Tabular(str(path), "t", decimal=decimal)
    except ConfigError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
    if said:
        return
    card = problem.data_card()
    assert all(f" {name} " in card for name in ("a", "b", "t"))
    constant = problem.constant_metrics()
    assert set(constant) == set(problem.metrics)
    for split in problem.splits:
        assert all(column.isfinite().all() for column in tables(problem, split).values())

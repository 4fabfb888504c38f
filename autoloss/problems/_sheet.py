"""A table as named columns of text: from a CSV file, a Parquet file or a table in memory."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoloss.core.errors import ConfigError, require
from autoloss.problems._encoding import SHOWN, encoding_of

DELIMITERS = ",;\t|"
PARQUET = (".parquet", ".pq")
ABSENT = ("NAType", "NaTType")  # of pandas: a comparison with them gives neither True nor False


@dataclass(frozen=True, slots=True)
class Sheet:
    """The columns of a table by name, N cells each, and the line of the file where each of the N rows ends.

    A table without lines counts its rows from 1. ``about`` says in words how the file was read; ``delimiter`` is empty
    for what is no CSV file.
    """

    columns: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]
    source: str = "a table"
    about: str = ""
    delimiter: str = ""


def read_sheet(path: str, encoding: str = "auto") -> Sheet:
    """The columns of the CSV file ``path``, cells stripped of spaces; or those of a Parquet file, by its ending.

    The first row has the names; a column without one (such as a saved index) is left out. The delimiter is the one of
    ``, ; tab |`` that occurs most often in the first line outside quotes, or the one of a first line ``sep=;``. Blank
    lines are skipped. The encoding is found out unless it is said.
    """
    file = Path(path).expanduser()
    try:
        about = file.stat()
        return _read(str(file), encoding, about.st_mtime_ns, about.st_size)
    except FileNotFoundError as error:
        raise ConfigError(f"`csv` must be a file, but there is no file {path!r}.") from error
    except OSError as error:
        raise ConfigError(f"`csv` must be a file that can be read, but {path!r} cannot: {error.strerror}.") from error
    except UnicodeError as error:
        raise ConfigError(
            f"`encoding` must be that of the file, but {path!r} is not in {encoding}: {error}. Leave `encoding` out."
        ) from error
    except LookupError as error:
        raise ConfigError(f"`encoding` must be an encoding that Python knows, but it is {encoding!r}.") from error
    except csv.Error as error:
        raise ConfigError(f"`csv` must be a CSV file, but {path!r} is not: {error}.") from error


def sheet_of(table: Any, source: str = "a table") -> Sheet:
    """The columns of a table in memory: a mapping of columns, or a table of pandas, Polars or PyArrow.

    Cells are written as text: numbers in full, dates in ISO form, nothing for None, NaN and what pandas has for them.
    """
    columns = _columns(table)
    names = [str(name).strip() for name, _ in columns]
    twice = next((name for name in names if names.count(name) > 1), "")
    require(not twice, "Columns must have distinct names", f"several of {source} are called {twice!r}")
    cells = {name: tuple(map(_text, column)) for name, (_, column) in zip(names, columns, strict=True) if name}
    counts = {name: len(column) for name, column in cells.items()}
    require(len(set(counts.values())) <= 1, "Columns must have equally many cells", f"they have {counts}")
    count = max(counts.values(), default=0)
    require(count > 0, "A table must have columns and rows", f"{source} has {len(cells)} and {count}")
    return Sheet(cells, tuple(range(1, count + 1)), source)


def _columns(table: Any) -> list[tuple[Any, Iterable[Any]]]:
    if hasattr(table, "to_pydict"):
        table = table.to_pydict()  # of PyArrow, whose `columns` have no names
    if isinstance(table, Mapping):
        return [(name, list(column)) for name, column in table.items()]
    if not hasattr(table, "columns") or not hasattr(table, "to_dict"):
        raise ConfigError(
            f"A table must be a DataFrame or a mapping of columns, but it is {type(table).__name__}. "
            "Give a file's path as problem.csv instead."
        )
    names = list(table.columns)
    # Two columns of one name would be a table, whose cells are names: the name alone leads to an error.
    return [(name, list(table[name]) if names.count(name) == 1 else []) for name in names]


def _text(value: Any) -> str:
    if value is None or type(value).__name__ in ABSENT or value != value:
        return ""
    return str(value.isoformat(" ") if hasattr(value, "hour") else value).strip()


@lru_cache(maxsize=2)
def _read(path: str, encoding: str, changed: int, size: int) -> Sheet:
    """Read ``path``, once for all the runs of a sweep; ``changed`` and ``size`` tell its versions apart."""
    if Path(path).suffix.lower() in PARQUET:
        return _parquet(path)
    content = Path(path).read_bytes()
    name = encoding_of(content) if encoding == "auto" else encoding
    text = content.decode(name).removeprefix("\ufeff")
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    line = 0
    if first.lower() in {f"sep={one}" for one in DELIMITERS}:
        # As spreadsheets write it.
        delimiter, text, line = first[4], re.sub(r"\A(\r\n|\r|\n)", "", text[len(first) :]), 1
    else:
        # What stands in quotes is a part of a name.
        outside = "".join(first.split('"')[::2])
        delimiter = max(DELIMITERS, key=outside.count)
    columns, lines = _parsed(text, delimiter, path, line)
    _check_delimiter(columns, path)
    shown = "tab" if delimiter == "\t" else repr(delimiter)
    known = SHOWN.get(name, f"read as {name} since it is not UTF-8" if encoding == "auto" else name)
    return Sheet(columns, lines, Path(path).name, f"{known}, separator {shown}", delimiter)


def _parsed(text: str, delimiter: str, path: str, above: int) -> tuple[dict[str, tuple[str, ...]], tuple[int, ...]]:
    """The columns in ``text``, and the lines of the file, which has ``above`` lines before it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in next(reader, [])]
    names = [name for name in header if name]
    require(bool(names), "A CSV file must begin with the names of its columns", f"{path!r} does not")
    twice = next((name for name in names if names.count(name) > 1), "")
    require(not twice, "Columns must have distinct names", f"several of {path!r} are called {twice!r}")
    rows, lines = [], []
    for row in reader:
        if not row or (len(row) == 1 < len(header) and not row[0].strip()):
            continue
        require(
            len(row) == len(header),
            f"Every row must have as many cells as the header, {len(header)}",
            f"line {reader.line_num + above} of {path!r} has {len(row)}",
        )
        rows.append(row)
        lines.append(reader.line_num + above)
    require(bool(rows), "A CSV file must have rows", f"{path!r} has none")
    cells = {name: tuple(map(str.strip, column)) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
    return {name: cells[name] for name in names}, tuple(lines)


def _check_delimiter(columns: Mapping[str, object], path: str) -> None:
    """Raise if the only column's name has what may be another delimiter."""
    (name, *others) = columns
    found = next((one for one in (":", "^", "~", " ") if one in name), "")
    require(
        bool(others) or not found,
        "A CSV file's columns must be separated by a comma, semicolon, tab or |",
        f"the first line of {path!r} has none of them: {name!r}",
        f"Perhaps its separator is {found!r}: export it with another one.",
    )


def _parquet(path: str) -> Sheet:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ConfigError(
            f"A Parquet file needs PyArrow, but it is not installed, to read {path!r}. "
            "Write pip install 'autoloss-weights[parquet]', or export the table as CSV."
        ) from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise ConfigError(f"`csv` must be a Parquet file, but {path!r} is not: {error}.") from error
    return sheet_of(table, Path(path).name)

"""A CSV file as named columns of text."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from autoloss.core.errors import ConfigError, require

DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Sheet:
    """The columns of a file by name, N cells each, and the line of the file where each of the N rows ends."""

    columns: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]


def read_sheet(path: str) -> Sheet:
    """The columns of the CSV file ``path``, cells stripped of spaces.

    The first row has the names; a column without one (such as a saved index) is left out.
    The delimiter is the one of ``, ; tab |`` that occurs most often in the first line. Blank lines are skipped.
    """
    file = Path(path).expanduser()
    try:
        about = file.stat()
        return _read(str(file), about.st_mtime_ns, about.st_size)
    except FileNotFoundError as error:
        raise ConfigError(f"`csv` must be a file, but there is no file {path!r}.") from error
    except OSError as error:
        raise ConfigError(f"`csv` must be a file that can be read, but {path!r} cannot: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"`csv` must be text in UTF-8, but {path!r} is not: {error.reason}.") from error
    except csv.Error as error:
        raise ConfigError(f"`csv` must be a CSV file, but {path!r} is not: {error}.") from error


@lru_cache(maxsize=2)
def _read(path: str, changed: int, size: int) -> Sheet:
    """Read ``path``, once for all the runs of a sweep; ``changed`` and ``size`` tell its versions apart."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        delimiter = max(DELIMITERS, key=file.readline().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
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
                f"line {reader.line_num} of {path!r} has {len(row)}",
            )
            rows.append(row)
            lines.append(reader.line_num)
    require(bool(rows), "A CSV file must have rows", f"{path!r} has none")
    cells = {name: tuple(map(str.strip, column)) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
    return Sheet({name: cells[name] for name in names}, tuple(lines))

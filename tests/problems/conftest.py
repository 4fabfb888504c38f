"""Files of tables."""

import csv

import pytest

from tests.problems.sheets import HEADER


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

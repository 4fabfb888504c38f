"""What a killed process leaves behind."""

import os
import signal
import time

import pytest

from autoloss.core.clock import Clock
from autoloss.core.io.files import whole
from autoloss.training.record.csv_file import CsvFile


def test_a_file_that_is_not_complete_does_not_take_the_old_ones_place(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")

    def write():
        with whole(path) as file:
            file.write("ne")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result"]
    with whole(path) as file:
        file.write("new")
    assert path.read_text() == "new"


def test_what_was_killed_while_it_wrote_is_written_over(tmp_path):
    path, ready = tmp_path / "result", tmp_path / "ready"
    for _ in range(2):
        if not (child := os.fork()):
            with whole(path, alone=True) as file:
                file.write("half")
                file.flush()
                ready.touch()
                time.sleep(60)
        while not ready.exists():
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not path.exists()
    assert len(os.listdir(tmp_path)) == 2
    with whole(path, alone=True) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["ready", "result"]


@pytest.mark.parametrize("cut", range(1, 9))
def test_half_a_row_is_not_read_as_a_row(tmp_path, cut):
    file = CsvFile(tmp_path / "rows.csv", ["a", "b"])
    file.append([(Clock(step, 0, 0.5), {"a": 1.0, "b": 2.0}) for step in (5, 6, 61)])
    path = tmp_path / "rows.csv"
    path.write_bytes(path.read_bytes()[: -2 - cut])
    CsvFile(path, ["a", "b"], start=61)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["step", "5", "6"]

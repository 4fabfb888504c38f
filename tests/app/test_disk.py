"""A full disk, a directory that may not be written and output that nobody reads: one sentence or none, and no traceback."""

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autoloss.core.io.disk import disk_error
from tests.processes import start

SCRIPT = Path(__file__).with_name("limited_script.py")
SMALL = ("problem.pairs=200", "trainer.max_epochs=2", "trainer.accelerator=cpu")
VERBS = {
    "train": ("train",),
    "sweep": ("train", "-m", "seed=0,1"),
    "sweeper": ("train", "-m", "hydra/sweeper=autoloss", "weighting=equal,dwa", "hydra.sweeper.n_trials=2"),
    "search": ("search", "search.n_trials=2", "search.confirm=0", "search.weightings=[dwa]"),
    "compare": ("compare", "weighting=equal,dwa", "compare.seeds=1"),
    "diagnose": ("diagnose", "diagnose.runs=1", "diagnose.lookahead=false"),
    "meta": ("meta", "problems=[two_digits]", "meta.rounds=1"),
}


def limited(place, limit, *arguments):
    """The exit code and the output of the command in ``place`` under ``limit``."""
    log = place / "log.txt"
    log.touch()
    log.chmod(0o666)
    process = start(SCRIPT, [str(place), limit, *arguments], log)
    try:
        process.join(120)
        assert process.exitcode is not None, log.read_text()
    finally:
        process.kill()
        process.join()
    return process.exitcode, log.read_text()


def one_sentence(said):
    lines = [line for line in said.splitlines() if line.startswith("autoloss: ") and "has no report" not in line]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    assert "Error executing" not in said
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["300", "6000", "30000"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_sentence(tmp_path, verb, size):
    code, said = limited(tmp_path, size, *VERBS[verb], *SMALL)
    if size == "30000" and code == 0:
        pytest.skip("everything that this verb writes is smaller")
    if code == 0:
        # Only the record or a page did not fit: the results are whole, and it is said.
        assert size == "6000"
        assert "has no report" in said
        assert "Traceback" not in said
        return
    assert code == 1, said
    assert "The disk must have room for what a run writes" in one_sentence(said)
    # No file that is read back is half there.
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())
    assert not list(tmp_path.rglob(".*.new"))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_directory_that_may_not_be_written_is_one_sentence(verb):
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "log.txt").touch()
        (place / "log.txt").chmod(0o666)
        place.chmod(0o555)
        code, said = limited(place, "read-only", *VERBS[verb], *SMALL)
        place.chmod(0o755)
        assert sorted(path.name for path in place.iterdir()) == ["log.txt"]
    assert code == 1, said
    assert "A command must be allowed to use its files, but 'outputs' is refused" in one_sentence(said)


@pytest.mark.parametrize(
    "line",
    [
        "train hydra.run.dir=file/run",
        "train -m seed=0,1 hydra.sweep.dir=file/run",
        "search hydra.run.dir=file/run",
        "compare weighting=equal,dwa hydra.run.dir=file/run",
        "diagnose hydra.run.dir=file/run",
        "train hydra.run.dir=file",
        f"train hydra.run.dir={'n' * 300}",
        f"search hydra.run.dir={'n' * 300}",
        f"compare weighting=equal,dwa hydra.sweep.dir={'n' * 300}",
        f"train -m seed=0,1 hydra.sweep.dir={'n' * 300}",
        f"report {'n' * 300}",
        f"replay {'n' * 300}",
    ],
)
def test_a_place_that_cannot_be_a_directory_is_one_sentence(mistaken, tmp_path, line):
    (tmp_path / "file").write_text("mine")
    code, out, err = mistaken(line + ("" if line.startswith("re") else " problem.pairs=200 trainer.max_epochs=1"))
    assert code in (1, 2), out + err
    one_sentence(err)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_an_error_of_the_disk_is_called_one():
    behind = RuntimeError("while writing")
    behind.__cause__ = OSError(28, "No space left on device")
    assert "'here'" in str(disk_error(behind, Path("here")))
    assert disk_error(FileNotFoundError(2, "No such file", "x"), Path()) is None
    assert disk_error(OSError("disk on fire"), Path()) is None
    assert disk_error(BlockingIOError(11, "busy"), Path()) is None


@pytest.mark.slow
@pytest.mark.parametrize("both", ["", "2>&1"])
def test_output_that_nobody_reads_ends_no_run(tmp_path, both):
    command = shlex.join([sys.executable, "-m", "autoloss", "train", "-m", "seed=0,1", "hydra.sweep.dir=s", *SMALL])
    shell = f"set -o pipefail; {command} {both} | true; echo $?"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stdout + done.stderr
    assert done.stderr == ""
    assert [json.loads(path.read_text())["state"] for path in tmp_path.glob("s/*/summary.json")] == ["finished"] * 2
    assert not list(tmp_path.rglob("failed.json"))
    full = f"{shlex.join([sys.executable, '-m', 'autoloss', 'plugins'])} > /dev/full; echo $?"
    done = subprocess.run(["bash", "-c", full], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("0", "")
    assert disk_error(PermissionError(1, "Operation not permitted"), Path()) is None  # os.kill
    assert disk_error(PermissionError(13, "Permission denied", "x"), Path()) is not None


def test_code_that_makes_a_directory_twice_has_an_error_of_its_own(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert disk_error(FileExistsError(17, "File exists", str(tmp_path)), Path()) is None
    for place in ("file", "file/run"):
        assert "is one" in str(disk_error(NotADirectoryError(20, "Not a directory", str(tmp_path / place)), Path()))

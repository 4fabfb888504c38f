"""The password of a storage is in nothing that a search writes, prints, or gives to its workers' command lines."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoloss.core.passwords import without_passwords

SECRET = "hunter2'x"
SMALL = ("problem=two_digits", "problem.pairs=64", "trainer.max_epochs=1", "search.weightings=[fixed]")
TINY = (*SMALL, "search.n_trials=3", "search.confirm=0", "name=mine")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://me:pw@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("to postgresql+psycopg2://me:p@w/x@host/db, no", "to postgresql+psycopg2://me:***@host/db, no"),
        ("mysql://h/db?a=1&PASSWORD=pw&b=2", "mysql://h/db?a=1&PASSWORD=***&b=2"),
        ("search.storage='sqlite:///x.db?password=pw'", "search.storage='sqlite:///x.db?password=***'"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("problem=my_module:Mine seed=3 ${oc.env:X}", "problem=my_module:Mine seed=3 ${oc.env:X}"),
    ],
)
def test_a_password_in_a_url_is_hidden(text, hidden):
    assert without_passwords(text) == hidden


def database(place):
    """A database that asks for no password and is given one."""
    return f"sqlite:///file:{place}/db.sqlite?uri=true&password={SECRET}"


def holding(place):
    return [str(path) for path in place.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def run(place, *arguments, **environment):
    """What a search prints; meanwhile no other process may show the password in its command line."""
    log = place / "said.log"
    with log.open("w") as said:
        command = [sys.executable, "-m", "autoloss", "search", *arguments]
        process = subprocess.Popen(command, cwd=place, stdout=said, stderr=said, env={**os.environ, **environment})
        try:
            deadline, shown, seen = time.monotonic() + 240, [], set()
            own = Path(f"/proc/{process.pid}/cmdline")  # what its user typed; a fork has it too until it is another
            while process.poll() is None and time.monotonic() < deadline:
                for file in Path("/proc").glob("[0-9]*/cmdline"):
                    line = _read(file)
                    if line and line != _read(own) and str(place).encode() in line + _folder(file):
                        seen.add(file.parent.name)
                        shown += [line] if SECRET.encode() in line else []
                time.sleep(0.02)
            assert process.poll() is not None, log.read_text()
        finally:
            process.kill()
            process.wait()
    assert not shown
    return process.returncode, log.read_text(), seen


def _read(file):
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _folder(file):
    try:
        return os.readlink(file.parent / "cwd").encode()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
@pytest.mark.parametrize("way", ["typed", "environment", "file"])
def test_a_search_with_workers_leaves_no_password_and_goes_on(tmp_path, way):
    url = database(tmp_path)
    typed, environment = [f'search.storage="{url}"'], {}
    if way == "environment":
        typed, environment = ["search.storage=${oc.env:MY_STORAGE}"], {"MY_STORAGE": url}
    elif way == "file":
        outside = tmp_path.parent / f"{tmp_path.name}-load.yaml"
        outside.write_text(f"search:\n  storage: '\"{url}\"'\n".replace("'x", "''x"))
        typed = [f"load={outside}"]
    code, said, seen = run(tmp_path, *TINY, "search.workers=2", *typed, **environment)
    assert code == 0, said
    assert (tmp_path / "db.sqlite").exists()
    assert seen, "no worker was seen"
    assert holding(tmp_path) == []
    place = tmp_path / "outputs/search/mine"
    assert (place / ".hydra/overrides.yaml").exists()
    assert (place / "report.html").exists()
    if way == "typed":
        assert "password=***" in (place / "command.json").read_text()
        code, said, _ = run(tmp_path, *TINY, "search.n_trials=4", *typed)
        assert code == 0, said
        assert "3 finished, 1 to go" in said
        assert holding(tmp_path) == []


@pytest.mark.parametrize(
    "storage",
    [
        f"postgresql+psycopg2://me:{SECRET}@localhost:1/db",
        f"postgresql+psycopg2://me:{SECRET}@b@localhost:1/db",
        f"grpc://me:{SECRET}@localhost:1",
        f"nonsense://me:{SECRET}@localhost",
        f"postgresql://me:{SECRET}",
    ],
)
def test_a_storage_that_does_not_answer_is_named_without_its_password(autoloss, tmp_path, storage, monkeypatch):
    pytest.importorskip("psycopg2")
    monkeypatch.setattr("autoloss.search.study.WAIT", 1)
    done = autoloss("search", *TINY, f'search.storage="{storage}"')
    assert done.returncode == 2, done.stderr
    assert "search.storage" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "@b" not in done.stderr
    assert holding(tmp_path) == []


@pytest.mark.parametrize(
    "more", [["--cfg", "job"], ["--help"], ["nonsense=1"], ["search.nonsense=1"], ["weighting.alpha=[1"]]
)
def test_questions_and_mistakes_show_no_password(autoloss, tmp_path, more):
    done = autoloss("search", *TINY, f'search.storage="{database(tmp_path)}"', *more)
    assert SECRET not in done.stdout + done.stderr
    assert holding(tmp_path) == []

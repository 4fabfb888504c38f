"""Storages and studies: which are opened, which are refused, and the messages."""

import os
import subprocess
import sys

import pytest

from autoloss.core.errors import ConfigError
from autoloss.search.samplers import build_pruner
from autoloss.search.study import open_storage, open_study

NONE = build_pruner({"name": "none"}, 1, 0)


def test_a_study_of_something_else_is_refused_and_says_what_differs(tmp_path):
    about = {"problem": {"name": "two_digits", "pairs": 200}, "batch_size": 8}
    open_study(open_storage(None, tmp_path), "autoloss", about, ["maximize"], NONE)
    open_study(open_storage(None, tmp_path), "autoloss", about, ["maximize"], NONE)
    other = {"problem": {"name": "two_digits", "pairs": 400}, "batch_size": 8}
    with pytest.raises(ConfigError) as error:
        open_study(open_storage(None, tmp_path), "autoloss", other, ["maximize"], NONE)
    assert str(error.value) == (
        "A study must continue with its own settings, but 'autoloss' has problem.pairs=200 and not 400. "
        "Give this search another name=, or start again with fresh=true."
    )


@pytest.mark.parametrize(
    "storage",
    [
        "postgresql://me:secret@localhost:1/x",
        "postgresql+psycopg2://me:secret@localhost:1/x",
        "nonsense://x",
        "sqlite:////nowhere/x.db",
    ],
)
def test_a_storage_that_does_not_answer_is_one_sentence_without_the_password(tmp_path, storage):
    with pytest.raises(ConfigError, match="search.storage must answer, but") as error:
        open_storage(storage, tmp_path)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_proxy_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("autoloss.search.study.WAIT", 0.5)
    with pytest.raises(ConfigError, match="search.storage must answer"):
        open_storage("grpc://localhost:1", tmp_path)


def test_optuna_reads_the_journal(finish, tmp_path):
    finish(5)
    command = [sys.executable, "-c", "from optuna.cli import main; import sys; sys.exit(main())", "best-trial"]
    command += ["--storage", str(tmp_path / "study.log"), "--study-name", "autoloss", "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert '"state": "COMPLETE"' in done.stdout


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_half_a_line_of_a_killed_worker_does_not_spoil_the_study(tmp_path, cut):
    journal = tmp_path / "study.log"

    def opened():
        return open_study(open_storage(None, tmp_path), "autoloss", {}, ["maximize"], NONE)

    study = opened()
    study.tell(study.ask(), 1.0)
    trials = len(study.trials)
    torn = study.ask()
    journal.write_bytes(journal.read_bytes()[:-cut])
    again = opened()
    again.tell(again.ask(), 2.0)
    assert [t.value for t in opened().trials if t.state.is_finished()] == [1.0, 2.0]
    assert trials == 1
    assert torn.number == 1

"""What Optuna's tools show of a study: its name, what its values are called, and a note that says what it is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import Study

NAME = "autoloss"
NOTE = "note"  # the attribute of a study with its note, which optuna-dashboard's users see among the others


def study_name(storage: BaseStorage, directory: Path, shared: bool) -> str:
    """The name of the study of the search in ``directory``: autoloss, and the name of the directory.

    A storage of its own has one study, whatever it is called: a search goes on when an earlier version began it, and
    when its directory was moved. In a storage that searches share, the name says which study it is.
    """
    own = [] if shared else optuna.get_all_study_names(storage)
    return own[0] if own else f"{NAME}/{directory.name}"


def describe(study: Study, objectives: Sequence[str]) -> None:
    """Say in a new study what the values of its trials are called, and what it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(objectives))
    score = "The score is the mean relative improvement of the metrics over equal weights; 0 is as good as they are."
    note(study, ["Weights between losses, searched by autoloss.", *([score] if "score" in objectives else [])])


def note(study: Study, sentences: Sequence[str]) -> None:
    """Write the note of ``study``: as an attribute, and as optuna-dashboard's own note where that is installed."""
    text = "\n\n".join(sentences)
    study.set_user_attr(NOTE, text)
    if find_spec("optuna_dashboard") is not None:
        import_module("optuna_dashboard").save_note(study, text)

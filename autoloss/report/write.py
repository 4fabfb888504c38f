"""Writes the page of a run, sweep, search, comparison or diagnosis."""

from __future__ import annotations

from pathlib import Path

from autoloss.core.errors import AutolossError, ConfigError, DamagedError, first_line
from autoloss.core.io.files import read_mapping, write_text
from autoloss.report.compare_page import compare_page
from autoloss.report.diagnosis_page import diagnosis_page
from autoloss.report.findings import Findings
from autoloss.report.page import Page, render
from autoloss.report.record import RunRecord, read_record
from autoloss.report.run_page import run_page
from autoloss.report.runs import read_runs
from autoloss.report.search_page import search_page
from autoloss.report.sweep_page import sweep_page

RUN = ("trajectory.csv", "summary.json", "failed.json", "record.json")
JUDGED = ("search.json", "compare.json", "diagnosis.json")


def write(directory: str | Path) -> Path:
    """Write ``report.html`` for the run, sweep, search or comparison in ``directory``, and return its path."""
    place = Path(directory)
    path = place / "report.html"
    write_text(path, render(build(place)))
    return path


def build(directory: Path) -> Page:
    """The page of ``directory``.

    Raises :class:`ConfigError` for a directory that holds none of these, or a file in it that cannot be read.
    """
    if not directory.is_dir():
        raise ConfigError(f"A report needs the directory of a run, but there is no directory {str(directory)!r}.")
    try:
        if (diagnosed := read_mapping(directory / "diagnosis.json")) is not None:
            return diagnosis_page(directory, diagnosed)
        if (search := read_mapping(directory / "search.json")) is not None:
            return search_page(directory, search)
        if (compared := read_mapping(directory / "compare.json")) is not None:
            return compare_page(directory, compared)
        if _is_run(directory):
            return run_page(read_record(directory))
        if read_runs(directory):
            return sweep_page(directory)
    except AutolossError as error:
        if not isinstance(error, DamagedError):
            raise
        raise ConfigError(f"A report needs files that can be read. {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        raise ConfigError(
            f"A report needs the files that a run wrote, but one in {directory} is damaged: {first_line(error)}. "
            "Restore or remove it."
        ) from error
    raise ConfigError(
        f"A report needs the directory of a run, sweep, search or comparison, but {str(directory)!r} holds none of "
        f"{', '.join(RUN)}, and no directory with one of them."
    )


def read(directory: str | Path) -> RunRecord | Findings:
    """The run in ``directory`` as arrays: ``read(DIR).weights["rec"]``; what a search, comparison or sweep found.

    Each has a short text and, in a notebook, a table.

    >>> import tempfile
    >>> place = tempfile.mkdtemp()
    >>> _ = Path(place, "trajectory.csv").write_text("step,epoch,progress,loss_weight/rec\\n0,0,0,1\\n5,0,1,0.5\\n")
    >>> read(place).weights["rec"]
    array([1. , 0.5])
    """
    place = Path(directory)
    if place.is_dir() and not _is_run(place) and (_is_judged(place) or read_runs(place)):
        return Findings.of(place, build(place))
    return run_record(place)


def run_record(directory: str | Path) -> RunRecord:
    """The run in ``directory`` as arrays; :class:`ConfigError` for a directory that is not that of one run."""
    place = Path(directory)
    if not _is_run(place):
        missing = f"{str(place)!r} holds none of {', '.join(RUN)}"
        found = missing if place.is_dir() else f"there is no {str(place)!r}"
        raise ConfigError(f"A record is read from the directory of one run, but {found}. Name the directory of a run.")
    return read_record(place)


def _is_run(directory: Path) -> bool:
    return any((directory / name).exists() for name in RUN)


def _is_judged(directory: Path) -> bool:
    return any((directory / name).exists() for name in JUDGED)

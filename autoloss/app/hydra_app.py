"""Functions that all verbs with a Hydra configuration share."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra._internal import utils

from autoloss.app.composition import VERSION_BASE, allow_new_terms
from autoloss.app.config_source import conf_dir, register
from autoloss.app.help import help_text
from autoloss.app.load import loaded
from autoloss.app.overrides import rewritten
from autoloss.app.screen import say
from autoloss.app.trust import check_loaded, remember_typed
from autoloss.core.errors import AutolossError, ConfigError, first_line
from autoloss.core.io.disk import disk_error
from autoloss.core.io.files import write_json

FAILED, USER_ERROR = 1, 2
_QUESTIONS = ("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")
_FLAGS = (*_QUESTIONS, "-m", "--multirun", "-r", "--run", "--resolve", "--experimental-rerun")
_FLAGS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn"),
    *("--config-path", "-cp", "--info", "-i", "-sc", "--shell-completion"),
)


def _is_question(flags: Sequence[str]) -> bool:
    """Whether a flag asks Hydra for information, so that nothing is run."""
    return any(flag.partition("=")[0] in _QUESTIONS for flag in flags)


def config_dirs(flags: Sequence[str]) -> list[str]:
    """The directories of configuration files that the flags add."""
    return [value for flag, value in pairwise(flags) if flag in ("--config-dir", "-cd")]


def answer_question(
    verb: str, flags: Sequence[str], overrides: Sequence[str], job: Callable[[Any], Any] = lambda config: None
) -> int | None:
    """Answer a flag that asks for information (``--help``, ``--cfg job``) and return the exit code; else ``None``."""
    if {"--help", "-h"} & set(flags):
        print(help_text(verb, overrides, config_dirs(flags)))
        return 0
    return hydra_main(verb, job, [*flags, *overrides]) if _is_question(flags) else None


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the rewritten overrides: those of the file ``load=`` come first."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting = False
    for argument in arguments:
        if waiting or argument.startswith("-"):
            if not waiting:
                _check_flag(argument, arguments)
            flags.append(argument)
            waiting = argument in _FLAGS_WITH_VALUE
        else:
            overrides.append(argument)
    remember_typed(overrides)
    file = override_value(overrides, "load")
    read = loaded(file) if file else []
    check_loaded(read, overrides, str(file))
    typed = rewritten([*read, *overrides])
    return flags, allow_new_terms(typed, config_dirs(flags))


def _check_flag(flag: str, arguments: Sequence[str]) -> None:
    """Raise for a flag that Hydra does not have, which is often a key as other commands spell it."""
    name, equals, value = flag.partition("=")
    if name in _FLAGS or name in _FLAGS_WITH_VALUE:
        return
    key = name.lstrip("-").replace("-", "_")
    after = list(arguments[arguments.index(flag) + 1 :])
    if not equals:
        value = after[0] if after and "=" not in after[0] and not after[0].startswith("-") else "VALUE"
    advice = f"Write {key}={value}." if name.startswith("--") and key else "See --hydra-help for a list of the flags."
    raise ConfigError(
        f"A key is written key=value without dashes, and a flag is one of Hydra's, but {flag!r} is neither. {advice}"
    )


def override_value(overrides: Sequence[str], key: str) -> str | None:
    """The value that ``overrides`` set ``key`` to, or ``None``."""
    return next((o.partition("=")[2] for o in overrides if o.lstrip("+").partition("=")[0] == key), None)


def quoted(path: str) -> str:
    """``path`` as a quoted string in Hydra's grammar."""
    return "'" + path.replace("'", "\\'") + "'"


def hydra_main(config_name: str, job: Callable[[Any], Any], arguments: Sequence[str]) -> int:
    """Let Hydra parse ``arguments`` and call ``job``; return the exit code."""
    register()
    before, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        with _errors_raised():
            hydra.main(config_path=str(conf_dir()), config_name=config_name, **VERSION_BASE)(job)()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


class _Passing(BaseException):
    """Carries an error through Hydra, which prints every other one with its traceback."""


@contextmanager
def _errors_raised() -> Iterator[None]:
    """Within it Hydra raises errors of the disk, in a job and in what it writes itself, and ours, of a launcher."""

    def report(function: Callable[[], Any]) -> Any:
        def call() -> Any:
            try:
                return function()
            except Exception as error:
                found = error if isinstance(error, AutolossError) else disk_error(error, Path.cwd())
                if found is None:
                    raise
                raise _Passing(found) from error

        return before(call)

    hydra_utils: Any = utils
    before, hydra_utils.run_and_report = utils.run_and_report, report
    try:
        yield
    except _Passing as passing:
        raise passing.args[0] from passing
    finally:
        hydra_utils.run_and_report = before


def record_failure(directory: Path, error: BaseException) -> int:
    """Write the first line of ``error`` to ``failed.json``, print it, and return the exit code for it.

    An error of the disk ends the whole command: it is written if that is possible, and raised.
    """
    if (disk := disk_error(error, directory)) is not None:
        with suppress(OSError):
            write_json(directory / "failed.json", {"error": str(disk)})
        raise disk from error
    ours = isinstance(error, AutolossError)
    sentence = first_line(error)
    write_json(directory / "failed.json", {"error": sentence})
    say(f"autoloss: {error if ours else sentence}", error=True)
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and ours:
        traceback.print_exc()
    return error.exit_code if isinstance(error, AutolossError) else FAILED

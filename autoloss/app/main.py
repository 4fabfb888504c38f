"""The entry point: ``autoloss VERB ...``."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType

from autoloss._version import __version__
from autoloss.app.completion import narrow
from autoloss.app.once import begin
from autoloss.app.output import outlive_readers
from autoloss.app.ranks.place import given
from autoloss.app.signal_handlers import stopping
from autoloss.app.verbs import VERBS
from autoloss.core.errors import AutolossError, unknown
from autoloss.core.io.disk import explained
from autoloss.core.passwords import without_passwords
from autoloss.search.stop import Stopped

_python_text = warnings.formatwarning
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended
HYDRA_VERBS = tuple(name for name, verb in VERBS.items() if verb.composes)
TRAINING_VERBS = ("train", "compare", "diagnose", "meta")  # those that may train on several devices


def main(arguments: Sequence[str] | None = None) -> int:
    """Call the module of the verb and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"autoloss {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    begin()
    if verb in ("-sc", "--shell-completion"):
        return _complete(arguments)
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        with explained(Path.cwd()), stopping():
            run = import_module(f"autoloss.app.{verb}").main
            if verb in TRAINING_VERBS and (place := given()) is not None:
                return int(import_module("autoloss.app.launched").run_at(place, verb, rest, run))
            return int(run(rest))
    except Stopped as stopped:
        print(f"autoloss: stopped by {stopped}; {stopped.then}.")
        return INTERRUPTED if str(stopped) == "SIGINT" else 0
    except AutolossError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"autoloss: {without_passwords(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("autoloss: interrupted", file=sys.stderr)
        return INTERRUPTED


def _complete(arguments: list[str]) -> int:
    if arguments[-1].partition("=")[0] != "query":
        return int(import_module("autoloss.app.train").main(arguments))
    verb, words = narrow(list(VERBS), HYDRA_VERBS)
    if verb is None:
        print("\n".join(words))
        return 0
    return int(import_module(f"autoloss.app.{verb}").main(arguments))


def run() -> None:
    """Run the console script ``autoloss``."""
    sys.excepthook = _show_error
    warnings.formatwarning = warning_text
    outlive_readers()
    sys.exit(main())


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(without_passwords("".join(traceback.format_exception(kind, error, trace))))


def warning_text(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of ours as one sentence, without the place in our code; others are as Python has them."""
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        return f"autoloss: {message}\n"
    return _python_text(message, category, filename, lineno, line)


def _help() -> str:
    verbs = "\n".join(f"  {name:<10} {verb.line}" for name, verb in VERBS.items())
    return (
        "autoloss learns the weights between several losses.\n\n"
        f"autoloss VERB ...\n{verbs}\n\n"
        "autoloss VERB --help says more. Documentation: README.md and docs/."
    )


if __name__ == "__main__":
    run()

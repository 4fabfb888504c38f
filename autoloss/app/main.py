"""The entry point: ``autoloss VERB ...``."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType

from autoloss._version import __version__
from autoloss.app.completion import narrow
from autoloss.app.output import outlive_readers
from autoloss.app.ranks.place import given
from autoloss.app.signal_handlers import stopping
from autoloss.core.errors import AutolossError, unknown
from autoloss.core.io.disk import explained
from autoloss.core.passwords import without_passwords
from autoloss.search.stop import Stopped

VERBS = {
    "train": "train a model, or a sweep with -m: autoloss train -m weighting=equal,gradnorm seed=0,1,2",
    "search": "find the best weighting and weights, and confirm them: autoloss search search.n_trials=20",
    "compare": "compare choices over seeds, with a test: autoloss compare weighting=equal,gradnorm compare.seeds=5",
    "diagnose": "before training, measure a problem and get advice: autoloss diagnose problem=two_digits",
    "meta": "learn a weighting rule over problems: autoloss meta problems=[two_digits,tabular] unseen=mine:Mine",
    "distill": "turn a run's weights into a schedule for other runs: autoloss distill outputs/train/NAME/001",
    "predict": "predict new rows with the model of a search or run: autoloss predict outputs/search/NAME new.csv",
    "report": "write a page about a run, sweep, search or comparison: autoloss report outputs/train/...",
    "replay": "what other weightings would have chosen on a run: autoloss replay RUN_DIR weighting=gradnorm,nash_mtl",
    "describe": "show what a component does: autoloss describe weighting gradnorm",
    "plugins": "list every component and where it comes from; --json, --check",
}


RESUME_COMMANDS = {"train": "the same command with ckpt=last (a sweep: the same command)"}
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended
HYDRA_VERBS = ("train", "search", "compare", "diagnose", "meta")
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
        print(f"autoloss: stopped by {stopped}; {RESUME_COMMANDS.get(verb, 'the same command')} goes on from here.")
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
    outlive_readers()
    sys.exit(main())


def _show_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(without_passwords("".join(traceback.format_exception(kind, error, trace))))


def _help() -> str:
    verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return (
        "autoloss learns the weights between several losses.\n\n"
        f"autoloss VERB ...\n{verbs}\n\n"
        "autoloss VERB --help says more. Documentation: README.md and docs/."
    )


if __name__ == "__main__":
    run()

"""The entry point: ``autoloss VERB ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from autoloss import __version__
from autoloss.core.errors import AutolossError, unknown

VERBS = {
    "train": "train a model, or with -m any sweep: autoloss train -m weighting=equal,gradnorm seed=0,1,2",
    "describe": "what a component does: autoloss describe weighting gradnorm",
    "plugins": "every component and where it comes from; --json, --check",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Dispatch to the verb's module and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"autoloss {__version__}")
        return 0
    verb, rest = arguments[0], arguments[1:]
    # Hydra's tab completion asks the program itself; the verb that it completes for is train's.
    if verb.startswith("-sc") or verb.startswith("--shell-completion"):
        verb, rest = "train", arguments
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return int(import_module(f"autoloss.app.{verb}").main(rest))
    except AutolossError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"autoloss: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("autoloss: interrupted", file=sys.stderr)
        return 130


def run() -> None:
    """The console script."""
    sys.exit(main())


def _help() -> str:
    verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return (
        "autoloss learns the weights between several losses.\n\n"
        f"autoloss VERB ...\n{verbs}\n\n"
        "autoloss VERB --help says more; documentation: README.md and docs/."
    )


if __name__ == "__main__":
    run()

"""The CPU time of ``autoloss VERB --help`` in units of ``import hydra``, without which no key can be composed.

Exit code 1 if a verb takes more than 2.5 times as long. The least of some processes counts: other work on the machine
only adds to the time of one.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence

LIMIT, REPEATS = 2.5, 5
VERBS = ("train", "search", "compare", "diagnose", "meta", "distill", "report", "replay", "describe", "plugins")


def seconds(arguments: Sequence[str]) -> float:
    """The CPU seconds of a new Python process with ``arguments``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print a line for each verb; the exit code is 1 if one is too slow."""
    commands = {"import hydra": ["-c", "import hydra"]}
    commands |= {f"autoloss {verb} --help": ["-m", "autoloss", verb, "--help"] for verb in VERBS}
    taken = {name: min(seconds(arguments) for _ in range(REPEATS)) for name, arguments in commands.items()}
    unit = taken["import hydra"]
    for name, found in taken.items():
        print(f"{name:<25} {found:.2f} s  {found / unit:.2f}")
    return 1 if max(taken.values()) > LIMIT * unit else 0


if __name__ == "__main__":
    sys.exit(main())

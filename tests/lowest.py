"""Prints the lowest version of each dependency that pyproject.toml allows, as constraints for pip: `make test-lowest`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest(project: str) -> list[str]:
    """``name==version`` for each ``name>=version`` among the ``dependencies`` in the text of a pyproject.toml.

    >>> lowest('dependencies = [\\n  "a>=1.2,<3",   # because\\n  "b-c>=4",\\n]\\n[more]\\nd = ["e>=5"]')
    ['a==1.2', 'b-c==4']
    """
    block = re.search(r"^dependencies = \[$(.*?)^\]$", project, re.M | re.S)
    found = re.findall(r'^\s*"([\w.-]+)>=([\w.]+)', block[1], re.M) if block else []
    return [f"{name}=={version}" for name, version in found]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest(PROJECT.read_text(encoding="utf-8"))) + "\n")

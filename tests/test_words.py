"""One word for one thing, and no sentence that new users had to read twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RIDDLES = (
    "killed by nobody's leave",
    "how hard it leans",
    "another process is at it",
    "derivative in the gradient",
    "read by nobody in it",
    "What came of",
    "can name the place of",
    "(`grace`: or is dead)",
    "say nothing any more",
    "no viable alternative",
    "could have shown",
    "of what the parameters explain",
    "hardly, though",
    "log-simplex",
)
# The name of a weighting, loss or problem is its file's name, which its paper or its users chose.
NAMED_BY_OTHERS = {"Balancer", "Focal", "Poisson"}


def _texts() -> list[Path]:
    folders = ("autoloss", "docs", "conf", "plugins", "examples", "benchmarks")
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    pages = [*found, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
    return [path for path in pages if path.suffix in (".py", ".md", ".yaml", ".html") and path.is_file()]


@pytest.mark.parametrize("riddle", RIDDLES)
def test_a_sentence_that_was_read_twice_does_not_come_back(riddle: str) -> None:
    assert [str(path.relative_to(ROOT)) for path in _texts() if riddle in path.read_text(encoding="utf-8")] == []


def test_each_class_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for path in sorted((ROOT / "autoloss").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: of for name, of in places.items() if len(of) > 1 and name not in NAMED_BY_OTHERS} == {}

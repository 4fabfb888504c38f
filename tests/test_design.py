"""docs/design.md says where things are: every path in it exists, and its map shows every folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "autoloss"
PAGE = (ROOT / "docs" / "design.md").read_text()
GIVEN = {"outputs", ".hydra", "checkpoints", "trials"}  # what a run leaves
FOLDERS = {path.name for path in [*PACKAGE.rglob("*"), *ROOT.iterdir()] if path.is_dir()} - GIVEN
MENTIONS = sorted(
    mention
    for mention in set(re.findall(r"`([\w.]+(?:/[\w.]+)+)/?`", PAGE))
    if mention.split("/")[0] in FOLDERS or mention.endswith(".py")
)


def map_of_folders() -> list[str]:
    """The folders of the map in section 4, relative to the repository."""
    block = re.search(r"^```\n(autoloss/\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block
    found: list[str] = []
    for line in block[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        parents = found[-1].split("/")[:depth] if found else []
        found.append("/".join([*parents, line.split()[0].rstrip("/")]))
    return found


@pytest.mark.parametrize("mention", MENTIONS)
def test_a_path_that_is_mentioned_exists(mention: str) -> None:
    places = [folder / mention for folder in (ROOT, PACKAGE)]
    assert any(place.exists() or place.with_name(f"{place.name}.py").exists() for place in places)


def test_paths_are_mentioned() -> None:
    assert {"probe/obstacles", "app/trust", "training/step/lookahead.py"} <= set(MENTIONS)


def test_the_map_shows_every_folder_and_no_other() -> None:
    drawn = map_of_folders()
    assert [path for path in drawn if not (ROOT / path).is_dir()] == []
    folders = {path.parent.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert folders <= set(drawn)


def test_the_glossary_has_at_most_thirty_words() -> None:
    glossary = PAGE.partition("## 9. Glossary")[2]
    words = re.findall(r"^\| ([a-z][^|]*) \| [^|]+ \|$", glossary, re.MULTILINE)
    assert words[0] == "word"
    assert 20 < len(words[1:]) <= 30
    assert len(set(words)) == len(words)

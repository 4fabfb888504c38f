"""The commands on the pages print what the pages show below them, typed in an empty directory in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# One command, and below it what it prints; a line "..." stands for lines that are left out.
SHOWN = re.compile(r"^```sh\n((?:autoloss [^\n]*\n(?:  [^\n]*\n)?)+)```\n\n```\n(.*?)^```$", re.S | re.M)
FILE = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
FOUND = {page.relative_to(ROOT).as_posix(): SHOWN.findall(page.read_text()) for page in PAGES}
FOUND = {page: blocks for page, blocks in FOUND.items() if blocks}
QUICK = {"docs/plugins.md"}


def shape(line):
    """A line without what other versions and machines print otherwise: its numbers, and the spaces of its columns."""
    return re.sub(r"\s+", " ", NUMBER.sub("0", line)).strip()


def agree(printed, shown):
    """Whether each line that is shown was printed, in that order; metrics may differ by a third, and by 0.05."""
    lines = iter(printed.splitlines())
    for line in shown.splitlines():
        if line in ("", "..."):
            continue
        for other in lines:
            if shape(other) == shape(line):
                break
        else:
            return f"not printed: {line}\nbut:\n{printed}"
        pairs = zip(
            *([float(x) for x in NUMBER.findall(re.sub(r"\(.*", "", one))] for one in (other, line)), strict=True
        )
        if [pair for pair in pairs if pair[0] != pytest.approx(pair[1], rel=0.34, abs=0.05)]:
            return f"other numbers:\n{other}\n{line}"
    return ""


@pytest.mark.parametrize("page", [pytest.param(p, marks=() if p in QUICK else pytest.mark.slow) for p in FOUND])
def test_a_command_prints_what_its_page_shows(page, autoloss, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    text = (ROOT / page).read_text()
    for block in FILE.findall(text):
        if named := re.match(r"# ([\w/]+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
        elif "class MyProblem" in block:
            (tmp_path / "my_module.py").write_text(block)
    for commands, shown in FOUND[page]:
        said = ""
        for line in commands.replace("\\\n", " ").splitlines():
            done = autoloss(*shlex.split(line, comments=True)[1:])
            assert done.returncode == 0, done.stderr
            said += done.stdout
        assert agree(said, shown) == ""


def test_every_page_that_begins_with_a_command_shows_what_one_prints():
    assert {"README.md", "docs/quickstart.md", "docs/groups.md", "docs/seeing.md", "docs/gans.md"} <= set(FOUND)


def test_what_differs_from_the_page_is_seen():
    printed = "equal: error 0.26  (2.3 s)\nfinal weights: odd 1\n"
    assert agree(printed, "equal: error 0.29  (9.1 s)\n...\nfinal weights: odd 1\n") == ""
    assert "not printed" in agree(printed, "equal: errors 0.26  (2.3 s)")
    assert "not printed" in agree(printed, "final weights: odd 1\nequal: error 0.26  (2.3 s)\n")
    assert "other numbers" in agree(printed, "equal: error 0.5  (2.3 s)")

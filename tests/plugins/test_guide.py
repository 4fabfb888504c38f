"""Everything in docs/plugins.md and the pages under docs/plugins/, written to files and run in the order of the pages."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = DOCS / "plugins.md"
PAGES = {
    name: DOCS / "plugins" / f"{name}.md"
    for name in ("loss", "penalty", "weighting", "wrapper", "sample_weighting", "module", "problem", "experiment")
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"\A(?:# @.*\n)?# ([\w/.]+\.\w+)$", re.MULTILINE)
QUIETLY = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--target")
HEADINGS = ("The smallest one", "The contract", "On the command line", "In a loop of your own", "Its test", "Mistakes")

# The pages' loops are scripts: each is a test beside those that the pages write.
LOOPS = """
import runpy
from pathlib import Path

import pytest


@pytest.mark.parametrize("script", sorted(Path(__file__).parent.glob("loops/*.py")), ids=lambda path: path.stem)
def test_a_loop_runs(script):
    runpy.run_path(str(script))
"""


@dataclass
class Page:
    """A page's files by path, its scripts, and its commands."""

    files: dict[str, str] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)


def read(path: Path) -> Page:
    page = Page()
    for language, text in BLOCK.findall(path.read_text()):
        if language == "sh":
            page.commands += [shlex.split(line) for line in text.splitlines()]
        elif named := NAMED.search(text):
            page.files[named[1]] = text
        else:
            page.scripts.append(text)
    return page


def write(here: Path, page: Page, name: str) -> None:
    for path, text in page.files.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text)
    for number, text in enumerate(page.scripts):
        loop = here / "tests" / "loops" / f"{name}_{number}.py"
        loop.parent.mkdir(parents=True, exist_ok=True)
        loop.write_text(text)


@pytest.fixture(scope="module")
def project(tmp_path_factory, python) -> tuple[Path, Path]:
    """The pages' package: where its files are, and where it is installed, as the guide's commands did it."""
    pytest.importorskip("hatchling", reason="hatchling not installed: nothing to build with")
    pytest.importorskip("pip", reason="pip not installed")
    here, site = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("site")
    guide = read(GUIDE)
    assert guide.commands[0][:2] == ["autoloss", "train"]
    assert guide.commands[1:] == [
        ["pip", "install", "."],
        ["autoloss", "plugins", "--check"],
        ["autoloss", "describe", "loss", "my_charbonnier"],
        ["pytest", "tests"],
    ]
    write(here, guide, "guide")
    for name, path in PAGES.items():
        write(here, read(path), name)
    (here / "tests" / "test_loops.py").write_text(LOOPS)
    built = python("-m", *guide.commands[1], *QUIETLY, str(site), cwd=here)
    assert built.returncode == 0, built.stdout + built.stderr
    return here, site


def test_the_guide_s_first_command_needs_no_package(autoloss, tmp_path) -> None:
    guide = read(GUIDE)
    write(tmp_path, guide, "guide")
    result = autoloss(*guide.commands[0][1:])
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 1


def test_the_commands_of_every_page_run(project, autoloss) -> None:
    here, site = project
    pages = {"guide": read(GUIDE)} | {name: read(path) for name, path in PAGES.items()}
    lines = [(name, line) for name, page in pages.items() for line in page.commands]
    typed = [(name, line[1:]) for name, line in lines if line[0] == "autoloss"][1:]
    said = {}
    for name, line in typed:
        result = autoloss(*line, cwd=here, path=site)
        assert result.returncode == 0, f"{name}: autoloss {shlex.join(line)}\n{result.stdout}{result.stderr}"
        said[shlex.join(line)] = result.stdout
    assert "my_two_curves" in said["plugins --check"]
    assert "mean over everything but the samples" in said["describe loss my_charbonnier"]
    assert "running norm of its gradient" in said["describe weighting my_unit_norm"]
    assert "decay: 0.5" in said["train experiment=my_curves --cfg job"]
    summaries = [json.loads(path.read_text()) for path in here.rglob("summary.json")]
    trained = [line for _, line in typed if line[0] == "train" and "--cfg" not in line]
    assert len(summaries) == len(trained)
    assert sum("lasso" in one["final_weights"] or "my_group_lasso" in one["final_weights"] for one in summaries) == 3


def test_the_tests_and_loops_of_every_page_pass(project, run_tests) -> None:
    here, site = project
    result = run_tests(here, site, "-W", "ignore::DeprecationWarning", "tests")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_every_page_says(name: str) -> None:
    text = PAGES[name].read_text()
    assert [h for h in re.findall(r"^## (.*)$", text, re.MULTILINE) if h in HEADINGS] == list(HEADINGS)
    assert f"](plugins/{name}.md)" in GUIDE.read_text()


def test_each_component_takes_less_than_25_lines() -> None:
    components = {
        path: text for page in PAGES.values() for path, text in read(page).files.items() if path.startswith("src/")
    }
    for path, text in components.items():
        lines = [line for line in text.splitlines()[1:] if line.strip()]
        assert len(lines) < (50 if path.endswith("ring.py") else 30 if path.endswith("curves.py") else 25), path

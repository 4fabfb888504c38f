"""Everything in docs/plugins.md, written to files and run in the order in which it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^# ([\w/.]+\.\w+)$", re.MULTILINE)
COMMANDS = {
    "autoloss": ("-m", "autoloss"),
    "pytest": ("-m", "pytest", "-q", "-p", "no:cacheprovider"),
    "pip": ("-m", "pip"),
}
QUIETLY = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--target")


def _blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(GUIDE.read_text())


def test_the_guide_runs_from_top_to_bottom(tmp_path: Path, python) -> None:
    pytest.importorskip("hatchling", reason="hatchling not installed: nothing to build with")
    pytest.importorskip("pip", reason="pip not installed")
    here, site = tmp_path / "work", tmp_path / "site"
    site.mkdir()
    ran = []
    for language, text in _blocks():
        if language != "sh":
            file = here / NAMED.search(text)[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            continue
        for line in text.splitlines():
            program, *arguments = shlex.split(line)
            installs = (*QUIETLY, str(site)) if program == "pip" else ()
            result = python(*COMMANDS[program], *arguments, *installs, path=site, cwd=here)
            assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
            ran.append((line, result.stdout))
    assert "decay: 0.5" in ran[-2][1]
    said = "\n".join(stdout for _, stdout in ran)
    assert "my_two_curves" in said
    assert "running norm of its gradient" in said
    assert len(list(here.rglob("summary.json"))) == 2
    assert [line.split()[0] for line, _ in ran] == ["autoloss", "pip", *4 * ["autoloss"], "pytest"]


def test_each_component_takes_less_than_25_lines() -> None:
    components = [
        text for language, text in _blocks() if language == "python" and "class " in text and "# src/" in text
    ]
    assert len(components) == 5
    for text in components:
        name, *lines = text.splitlines()
        assert len([line for line in lines if line.strip()]) < 25, name

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.command import as_new_process

Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def python() -> Runner:
    """Runs this interpreter in ``cwd``."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def run_tests(capfd: pytest.CaptureFixture[str]) -> Runner:
    """Runs the tests of the project in a folder, with what is installed in ``site``, as ``pytest`` does there."""

    def run(folder: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(folder))
        with as_new_process(folder, {}, site):
            code = int(pytest.main([*options, *arguments]))
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess(["pytest", *arguments], code, out, err)

    return run


@pytest.fixture
def distribution(tmp_path: Path) -> Callable[..., Path]:
    """Writes a distribution as an installer would leave it: modules, metadata and entry points."""

    def write(name: str, version: str, modules: Mapping[str, str], points: Mapping[str, Mapping[str, str]]) -> Path:
        site = tmp_path / "site"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = [
            f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in names.items())
            for group, names in points.items()
        ]
        (info / "entry_points.txt").write_text("\n\n".join(groups))
        return site

    return write

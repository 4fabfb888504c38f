from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Runner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def python() -> Runner:
    """Runs this interpreter in ``cwd``, with ``path`` in front of what it finds by itself; ``given`` is its input."""

    def run(
        *arguments: str, path: Path | None = None, cwd: Path | None = None, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOLOSS_")} | {"OMP_NUM_THREADS": "1"}
        if path is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
        flags = {"capture_output": True, "text": True, "check": False}
        return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, input=given, **flags)

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

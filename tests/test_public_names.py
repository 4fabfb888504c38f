"""Docs, examples and plugins import public names alone: those of autoloss, autoloss.testing and autoloss.report."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import autoloss

ROOT = Path(__file__).parents[1]
PUBLIC = ("autoloss", "autoloss.testing", "autoloss.report")
HEAVY = ("torch", "pytorch_lightning", "hydra", "optuna")
# plugins/hydra_plugins is missing here on purpose: it is part of our own distribution (Hydra finds its sweepers in that
# namespace package only), is released together with autoloss, and drives its search; so it may use what is not public.
SOURCES = sorted(
    path
    for pattern in ("plugins/*/src/**/*.py", "plugins/*/tests/**/*.py", "examples/**/*.py")
    for path in ROOT.glob(pattern)
)
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "plugins/**/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "design.md"  # its blocks are sketches, which do not parse
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# CONTRIBUTING shows a file of the package itself: through the root, a weighting would import the layers above it.
INSIDE = {"CONTRIBUTING.md": ("autoloss.core.signals", "autoloss.core.weighting")}


def texts() -> Iterator[tuple[str, str]]:
    """Where it stands, and Python source."""
    for path in SOURCES:
        yield path.relative_to(ROOT).as_posix(), path.read_text()
    for path in PAGES:
        for block in BLOCK.findall(path.read_text()):
            yield path.relative_to(ROOT).as_posix(), block


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Each import from autoloss in ``source``: the module, and the name or nothing."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "autoloss":
            for alias in node.names:
                yield str(node.module), alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "autoloss":
                    yield alias.name, ""


@pytest.mark.parametrize("where", sorted({where for where, source in texts() if "autoloss" in source}))
def test_only_public_names_are_imported(where: str) -> None:
    for at, source in texts():
        for module, name in imports(source) if at == where else ():
            if module in INSIDE.get(where, ()):
                continue
            assert module in PUBLIC, f"{module} is not public: export {name} lazily in autoloss/__init__.py"
            assert not name or name in import_module(module).__all__, f"{name} is not in {module}.__all__"


@pytest.mark.parametrize("where", sorted({where for where, source in texts() if "autoloss." in source}))
def test_attributes_of_the_package_are_public(where: str) -> None:
    for at, source in texts():
        for node in ast.walk(ast.parse(source)) if at == where else ():
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "autoloss":
                assert node.attr in (*autoloss.__all__, "testing", "report"), f"autoloss.{node.attr} is not public"


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_exists(module: str) -> None:
    found = import_module(module)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []
    assert len(set(found.__all__)) == len(found.__all__)


def test_type_checkers_see_the_names_that_are_loaded_lazily() -> None:
    tree = ast.parse((ROOT / "autoloss/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname: str(node.module).removeprefix("autoloss.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != "autoloss"
    }
    assert seen == autoloss._PLACES


def test_importing_autoloss_imports_nothing_heavy() -> None:
    code = f"import sys, autoloss; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""What the package imports and what it declares are the same, and each declaration says why."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
OURS = {"autoloss", "hydra_plugins"}
# Several distributions install these; the one that is declared.
DISTRIBUTIONS = {"lightning_fabric": "pytorch-lightning"}


def normal(name):
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", name)[0]).lower()


def declared(requirements):
    return [normal(one) for one in requirements]


NEEDED = declared(PROJECT["dependencies"])
EXTRAS = [name for of in PROJECT["optional-dependencies"].values() for name in declared(of)]


def imports(tree):
    """(module, whether it is imported when the file is) of each import in ``tree``."""
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0], id(node) not in late


@cache
def third_party():
    """Each imported distribution, with its files, and with those that import it at once."""
    known = packages_distributions()
    found, at_once = {}, {}
    for path in sorted(
        file for place in ("autoloss", "plugins/hydra_plugins") for file in (ROOT / place).rglob("*.py")
    ):
        name = str(path.relative_to(ROOT))
        for module, early in imports(ast.parse(path.read_text())):
            if module in sys.stdlib_module_names or module in OURS:
                continue
            candidates = {normal(one) for one in known.get(module, [module])}
            declared_ones = candidates & {*NEEDED, *EXTRAS}
            distribution = DISTRIBUTIONS.get(module) or min(declared_ones or candidates)
            found.setdefault(distribution, set()).add(name)
            if early:
                at_once.setdefault(distribution, set()).add(name)
    return found, at_once


def test_everything_that_is_imported_is_declared():
    missing = {name: sorted(of) for name, of in third_party()[0].items() if name not in {*NEEDED, *EXTRAS}}
    assert not missing


def test_what_only_an_extra_declares_is_imported_where_it_is_used():
    """Except by the suites in ``autoloss.testing``, which a plugin's author runs with pytest."""
    early = {name: of for name, of in third_party()[1].items() if name not in NEEDED}
    assert {file for of in early.values() for file in of if not file.startswith("autoloss/testing/")} == set()


def test_only_the_command_line_imports_what_posix_alone_has():
    found = set()
    for path in sorted((ROOT / "autoloss").rglob("*.py")):
        early = {module for module, early in imports(ast.parse(path.read_text())) if early}
        if early & {"fcntl", "grp", "pwd", "resource", "termios"}:
            found.add(path.relative_to(ROOT / "autoloss").parts[0])
    assert found <= {"app"}


def test_everything_that_is_declared_is_imported():
    assert set(NEEDED) - set(third_party()[0]) == set()


@pytest.mark.parametrize(
    "requirements", [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()], ids=lambda of: of[0]
)
def test_nothing_is_declared_twice_and_each_bound_has_its_reason(requirements):
    names = declared(requirements)
    assert len(names) == len(set(names))
    text = TEXT.partition("[project]")[2]
    for one in requirements:
        lines = [line for line in text.splitlines() if f'"{one}"' in line]
        assert lines
        assert all(re.search(r"# \w+", line) for line in lines), f"{one} has no reason"


def test_what_is_needed_has_a_version_that_is_known_to_work():
    pinned = {normal(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")}
    assert set(NEEDED) - pinned == set()

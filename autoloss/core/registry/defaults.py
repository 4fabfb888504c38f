"""Reads a component's parameters and their defaults; for built-ins without importing torch."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from typing import Any

from autoloss.core.registry.lookup import ORIGIN, PACKAGE, Listing, class_name, registry

REQUIRED = "???"


def defaults(listing: Listing, skip: int = 0) -> dict[str, Any]:
    """The parameters of a component's ``__init__`` with their defaults, without the first ``skip``.

    A parameter without a default has the value ``"???"``, as in OmegaConf. Built-ins are read from their source,
    because help and tab completion must not wait until torch is imported.
    """
    found = _from_source(listing) if listing.origin == ORIGIN else _from_signature(listing)
    return dict(list(found.items())[skip:])


def parameter_lines(listing: Listing) -> dict[str, str]:
    """What the docstring of a component says about each parameter, below ``Args:``; read as in :func:`defaults`."""
    found = _class(listing) if listing.origin == ORIGIN else registry.load(listing.kind, listing.spelling)
    text = ast.get_docstring(found) if isinstance(found, ast.ClassDef) else inspect.getdoc(found)
    below = (text or "").partition("\nArgs:\n")[2]
    lines: dict[str, str] = {}
    name = ""
    for line in below.splitlines():
        if line and not line.startswith("    "):
            break
        if begun := re.match(r"    (\w+): (.*)", line):
            name = begun[1]
            lines[name] = begun[2]
        elif name and line.strip():
            lines[name] += f" {line.strip()}"
    return {name: line.replace("``", "") for name, line in lines.items()}


def attribute(listing: Listing, name: str, default: Any = None) -> Any:
    """The class attribute ``name`` of a component, which must be a literal; read as in :func:`defaults`."""
    if listing.origin != ORIGIN:
        return getattr(registry.load(listing.kind, listing.spelling), name, default)
    for node in _class(listing).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            return ast.literal_eval(node.value) if node.value else default
    return default


@cache
def _class(listing: Listing) -> ast.ClassDef:
    path = PACKAGE / "/".join(listing.target.split(".")[1:])
    tree = ast.parse(path.with_suffix(".py").read_text())
    wanted = class_name(listing.name)
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == wanted)


def _from_source(listing: Listing) -> dict[str, Any]:
    for node in _class(listing).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            positional = node.args.args[1:]
            missing: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
            pairs = list(zip(positional, [*missing, *node.args.defaults], strict=True))
            pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
            return {arg.arg: REQUIRED if value is None else ast.literal_eval(value) for arg, value in pairs}
    return {}


def _from_signature(listing: Listing) -> dict[str, Any]:
    target = registry.load(listing.kind, listing.spelling)
    if not inspect.isclass(target) or target.__init__ is object.__init__:
        return {}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: REQUIRED if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind not in variadic
    }

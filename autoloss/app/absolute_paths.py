"""Makes the paths in overrides absolute, so that a file of overrides works from any directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from autoloss.app.overrides import parse, rewritten
from autoloss.search.override_text import written


def with_absolute_paths(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with an absolute path wherever a component's parameter names a file or directory that exists.

    A name without a separator and suffix, such as ``data``, is a path only in a parameter of the problem, and only if
    it is a directory: otherwise it may be a word.
    """
    return [_absolute(one) for one in overrides]


def _absolute(override: str) -> str:
    key = override.partition("=")[0]
    if "." not in key:
        return override  # the choice of a component
    try:
        (parsed,) = parse(rewritten([override]))
        value = parsed.value()
    except (HydraException, ValueError):
        return override  # its error is raised when it is composed
    text = value.text if isinstance(value, QuotedString) else value
    if not isinstance(text, str) or not text or "$" in text:
        return override
    path = Path(text).expanduser()
    looks = "/" in text or bool(path.suffix) or (key.startswith("problem.") and path.is_dir())
    if not looks or path.is_absolute() or not path.exists():
        return override
    return f"{key}={written(str(path.resolve()))}"

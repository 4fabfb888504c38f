"""The versions that a file says it was written with."""

from __future__ import annotations

from importlib.metadata import version

from autoloss._version import __version__


def versions(*packages: str) -> dict[str, str]:
    """The version of autoloss and of the installed ``packages``, by name; a summary of 0.1.0 lacks autoloss's."""
    return {"autoloss": __version__, **{name: version(name) for name in packages}}

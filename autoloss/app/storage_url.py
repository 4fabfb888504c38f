"""Keeps the password of ``search.storage`` out of files and out of the command lines of processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from autoloss.core.passwords import remember

KEY = "search.storage"
VARIABLE = "AUTOLOSS_SEARCH_STORAGE"
_FROM_ENVIRONMENT = f"{KEY}=${{oc.env:{VARIABLE}}}"


def move_to_environment(url: object, overrides: Sequence[str]) -> list[str]:
    """``overrides`` that read ``url`` from an environment variable, if it holds a password; else as they are.

    Hydra writes the overrides and the configuration into files as they are before the variable is read. The workers
    of a search inherit the variable.
    """
    if not isinstance(url, str) or not remember(url):
        return list(overrides)
    os.environ[VARIABLE] = url
    return [*(one for one in overrides if one.lstrip("+").partition("=")[0] != KEY), _FROM_ENVIRONMENT]

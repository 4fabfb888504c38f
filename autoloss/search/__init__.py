"""Searches which weighting and which weights are best, and says whether it matters.

The package is callable: ``autoloss.search(run, losses=[...], metrics={...})`` is
:func:`autoloss.search.library.search`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is also the function of its name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from autoloss.search.library import search

        return search(*arguments, **options)


sys.modules[__name__].__class__ = _Callable

"""What a chart shows at first: the kind of its axis, and which of many names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

TENFOLD = 10.0  # values that lie further apart than this are drawn on a logarithmic axis
FOLD, TOP = 12, 8  # of more names than FOLD the first TOP are drawn, the others by a click


def tenfold(curves: Iterable[ArrayLike]) -> bool:
    """Whether a logarithmic axis shows ``curves`` better: all above 0, and one value more than ten times another.

    >>> tenfold([[1.0, 2.0], [30.0]]), tenfold([[1.0, 2.0], [3.0]]), tenfold([[0.0, 2.0], [30.0]])
    (True, False, False)
    """
    values = np.concatenate([np.ravel(np.asarray(curve, dtype=float)) for curve in curves] or [np.empty(0)])
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > TENFOLD * finite.min())


def first(names: Sequence[str], sizes: Mapping[str, float]) -> dict[str, Any]:
    """Which of ``names`` a chart shows at first, as its entry ``top``: those of the largest ``sizes``, if many.

    >>> first(["a", "b"], {}), first([str(i) for i in range(13)], {"5": 1.0})["top"][0]
    ({}, '5')
    """
    if len(names) <= FOLD:
        return {}
    order = sorted(names, key=lambda name: -_known(sizes.get(name, 0.0)))
    return {"top": order[:TOP]}


def folded(note: str, data: Mapping[str, Any], number: int) -> str:
    """``note``, and which of ``number`` names a chart with ``data`` shows first.

    >>> folded("Mean.", {"top": ["a"]}, 40)
    'Mean. 1 of 40: those whose weights are furthest from equal.'
    """
    said = f"{len(data['top'])} of {number}: those whose weights are furthest from equal." if "top" in data else ""
    return " ".join(part for part in (note, said) if part)


def apart(weights: Iterable[float]) -> float:
    """How far the furthest of ``weights`` lies from 1, as the magnitude of a logarithm; 0 lies further than any."""
    return max((abs(math.log(max(abs(w), 1e-30))) for w in weights if w == w), default=0.0)


def _known(size: float) -> float:
    return size if size == size else -math.inf

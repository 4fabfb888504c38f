"""Words that sentences about one loss and about several share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NAMED = 6  # losses that a sentence names; of more it says how many


def names(of: Sequence[str]) -> str:
    """``of`` as a list in a sentence.

    >>> names(["a"]), names(["a", "b", "c"]), names([str(i) for i in range(9)])
    ('`a`', '`a`, `b` and `c`', '`0`, `1`, `2`, `3`, `4`, `5` and 3 others')
    """
    quoted = [f"`{name}`" for name in of[:NAMED]]
    if len(of) > NAMED:
        return f"{', '.join(quoted)} and {len(of) - NAMED} others"
    return joined(quoted)


def shortened(of: Sequence[str], what: str = "losses") -> str:
    """``of`` in a title: their number, if they are many.

    >>> shortened(["a", "b"]), shortened([str(i) for i in range(9)])
    ('a and b', '9 losses')
    """
    return f"{len(of)} {what}" if len(of) > NAMED else joined(of)


def joined(parts: Sequence[str]) -> str:
    """``parts`` as a list in a sentence.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def between(values: Iterable[float], form: str = ".3g", unit: str = "") -> str:
    """The range of ``values``; one number if all are the same in ``form``.

    >>> between([2.0, 1.0]), between([0.5, 0.5], ".0%"), between([3.0, 12.4], ".0f", "x")
    ('1 to 2', '50%', '3x to 12x')
    """
    ordered = sorted(values)
    texts = list(dict.fromkeys(f"{value:{form}}{unit}" for value in (ordered[0], ordered[-1])))
    return " to ".join(texts)


def times(values: Iterable[float]) -> str:
    """The range of factors.

    >>> times([1.51]), times([12.3, 0.25])
    ('1.5x', '0.25x to 12x')
    """
    ordered = sorted(values)
    return " to ".join(dict.fromkeys(_times(value) for value in (ordered[0], ordered[-1])))


def _times(factor: float) -> str:
    return f"{factor:.0f}x" if factor >= 10 else f"{factor:.2g}x"

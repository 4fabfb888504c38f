"""Names of directories: whatever differs between two runs is in the name, or in a digest of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from autoloss.core.errors import require

LONGEST = 100  # bytes of a name that is made here, before its digest
FILE_SYSTEM = 255  # bytes of one name that file systems take
# What each part may hold without a digest: ASCII letters and digits, and the punctuation of overrides.
_PLAIN = re.compile(r"[A-Za-z0-9._\\\-=,:()\[\]{}'\"+]*")


def made_name(parts: Sequence[str]) -> str:
    """A directory's name from ``parts``: letters, digits and ``._-``, and one ``_`` for anything else.

    A part with other characters than ASCII letters, digits and the punctuation of overrides (a blank, a slash, a
    letter of another script) is followed by a digest of exactly this part, because two such parts can look alike. A
    name that is too long is cut, with a digest of the whole.

    >>> made_name(["two_digits", "weighting.wrap_[ema,clamp]"])
    'two_digits-weighting.wrap_ema_clamp'
    >>> made_name(["data_a b"]), made_name(["data_a/b"])
    ('data_a_b-84a9250c', 'data_a_b-566ea993')
    """
    told = [part if _PLAIN.fullmatch(part) else f"{part}-{digest([part])}" for part in parts]
    name = re.sub(r"_+", "_", re.sub(r"[^\w.-]", "_", "-".join(told))).strip("_.")
    if len(name.encode()) > LONGEST:
        name = f"{name.encode()[:LONGEST].decode(errors='ignore')}-{digest([name])}"
    return name


def digest(parts: Iterable[str]) -> str:
    """Eight characters that differ for other ``parts``."""
    # A surrogate is a byte of the command line that is no text in the user's encoding.
    return hashlib.sha256("\x1f".join(parts).encode(errors="surrogatepass")).hexdigest()[:8]


def distinct(names: Sequence[Sequence[str]]) -> bool:
    """Whether the names that are made from each of ``names`` differ, also where capitals do not count."""
    different = {tuple(parts) for parts in names}
    return len({made_name(parts).casefold() for parts in different}) == len(different)


def checked_name(name: str) -> str:
    """Return ``name`` if it is the name of one directory and not a path; else raise :class:`ConfigError`."""
    require(
        re.fullmatch(r"[\w+][\w.+ -]*", name) is not None,
        "name must be a directory's name, of letters, digits, blanks and ._+-",
        f"it is {name!r}",
        "For a directory somewhere else set hydra.run.dir.",
    )
    size = len(name.encode())
    require(
        size <= FILE_SYSTEM,
        f"name must be at most {FILE_SYSTEM} bytes long, as file systems demand",
        f"it has {size}",
        "Write a shorter name=.",
    )
    return name

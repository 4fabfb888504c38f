"""Writes values in Hydra's grammar of overrides, so that Hydra reads back what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:@%*?+-]*")
_OTHERS = ("true", "false", "null", "nan", "inf")  # Hydra reads these words as something else than text


def written(value: Any) -> str:
    """``value`` as an override has it after its ``=``.

    A mapping's key cannot be quoted in Hydra's grammar. A mapping with a key that is no plain word is written as pairs
    instead, which the weighting ``fixed`` reads.

    >>> written({"left": 0.5, "right": 1.5})
    '{left:0.5,right:1.5}'
    >>> written({"1": 0.5, "KL(q||p)": 1.5})
    "{pairs:[['1',0.5],['KL(q||p)',1.5]]}"
    """
    if isinstance(value, Mapping):
        if all(_word(str(key)) for key in value):
            return "{" + ",".join(f"{key}:{written(of)}" for key, of in value.items()) + "}"
        return "{pairs:[" + ",".join(f"[{quoted(str(key))},{written(of)}]" for key, of in value.items()) + "]}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and not value.endswith(":") and value.lower() not in _OTHERS
        return value if plain else quoted(value)
    return str(value)


def quoted(text: str) -> str:
    """``text`` as a quoted string, in which ``${`` is text too.

    Hydra reads two backslashes as one only before a quote or the end, and OmegaConf only before ``${``.

    >>> quoted("a'b"), quoted("${seed}")
    ("'a\\\\'b'", "'\\\\${seed}'")
    """
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def _word(key: str) -> bool:
    return _WORD.fullmatch(key) is not None and key.lower() not in _OTHERS

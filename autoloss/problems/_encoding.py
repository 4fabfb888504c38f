"""The encoding of a text file, found out from its bytes."""

from __future__ import annotations

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE

from autoloss.core.errors import ConfigError

SHOWN = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


def encoding_of(content: bytes) -> str:
    """The name that Python has for the encoding of ``content``: UTF-8, UTF-16, else Windows-1252 or Latin-1.

    The last two take (nearly) any bytes, so that other encodings of one byte for each letter are read as one of them:
    cells that differ stay different, but some letters may be wrong. Bytes of 0 are no text: a :class:`ConfigError`.
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    start = content[:4096]
    if not content.startswith(BOM_UTF8) and 0 in start:
        # Of two bytes for a letter of English or of most of Europe, one is 0.
        for name, zeros, letters in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
            if zeros.count(0) > 0.7 * len(zeros) and 0 not in letters:
                return name
    if 0 in content:
        raise ConfigError("`csv` must be a text file, but it has bytes that no text has. Export it as CSV in UTF-8.")
    for name in ("utf-8-sig", "cp1252"):
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"

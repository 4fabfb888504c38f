"""Passwords in URLs: what is written or printed never holds one."""

from __future__ import annotations

import re

HIDDEN = "***"
# `scheme://user:PASSWORD@`, to the last @: a password may hold one that should have been written as %40.
_IN_AUTHORITY = re.compile(r"(\w[\w+.-]*://[^\s/:@'\"]*:)[^\s'\"]*@")
_IN_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:password|passwd|pwd|secret)[\w.-]*=)[^&\s'\"#]*")
_seen: dict[str, str] = {}


def without_passwords(text: str) -> str:
    """``text`` with ``***`` in the place of each password in a URL.

    >>> without_passwords("search.storage=postgresql://me:pw@host/db?sslpassword=x")
    'search.storage=postgresql://me:***@host/db?sslpassword=***'
    """
    for url, hidden in _seen.items():
        text = text.replace(url, hidden)
    return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_AUTHORITY.sub(rf"\1{HIDDEN}@", text))


def remember(url: str) -> bool:
    """Whether ``url`` holds a password; if it does, :func:`without_passwords` finds it whatever characters it has."""
    before, at, after = url.rpartition("@")
    scheme, mark, rest = before.partition("://")
    user, colon, _ = rest.partition(":")
    whole = f"{scheme}{mark}{user}{colon}{HIDDEN}{at}{after}" if mark and colon and "/" not in user else url
    hidden = _IN_QUERY.sub(rf"\1{HIDDEN}", whole)
    if hidden != url:
        _seen[url] = hidden
    return hidden != url

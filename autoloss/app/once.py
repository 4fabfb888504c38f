"""What one command says once, however many runs it trains."""

from __future__ import annotations

_said: set[str] = set()


def first_time(text: str) -> bool:
    """Whether this command has not asked about ``text`` before."""
    new = text not in _said
    _said.add(text)
    return new


def begin() -> None:
    """A new command begins: it has said nothing."""
    _said.clear()

"""The key of an override of Hydra."""

from __future__ import annotations


def key_of(override: str) -> str:
    """The key that an override sets, adds or removes.

    >>> key_of("+optimizer.fused=true"), key_of("~seed")
    ('optimizer.fused', 'seed')
    """
    return override.lstrip("+~").partition("=")[0]

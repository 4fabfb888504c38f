"""Tab completion: verbs are completed here, the overrides of a verb by Hydra."""

from __future__ import annotations

import os
from collections.abc import Sequence

from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry


def narrow(verbs: Sequence[str], composing: Sequence[str]) -> tuple[str | None, list[str]]:
    """Completes the line ``COMP_LINE``: gives the verb whose overrides Hydra has to complete, or the words themselves.

    If it gives a verb, it removes that verb from ``COMP_LINE``, as Hydra's completion expects it.
    """
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0") or 0) or None]
    words = line.split(" ")
    typed = [word for word in words[1:-1] if word]
    if not typed:
        return None, [verb for verb in verbs if verb.startswith(words[-1])]
    verb, last = typed[0], words[-1]
    if last.startswith("losses.") and "=" in last:
        key, _, _ = last.partition("=")
        return None, [option for name in registry.names("loss") if (option := f"{key}={name}").startswith(last)]
    if verb in composing:
        shown = " ".join([words[0], *typed[1:], last])
        os.environ["COMP_LINE"], os.environ["COMP_POINT"] = shown, str(len(shown))
        return verb, []
    options: list[str] = []
    if verb == "describe" and len(typed) == 1:
        options = [*KINDS, *sorted({name for kind in KINDS for name in registry.names(kind)})]
    elif verb == "describe":
        options = registry.names(typed[1]) if typed[1] in KINDS else []
    elif verb == "plugins" and len(typed) == 1:
        options = list(KINDS)
    return None, [option for option in options if option.startswith(last)]

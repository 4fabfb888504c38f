"""Explains in one sentence what is wrong with an override that Hydra's parser refuses, and what to write instead."""

from __future__ import annotations

import re
import shlex

from hydra.errors import HydraException

from autoloss.app.overrides import parse
from autoloss.core.errors import ConfigError

_KEY = re.compile(r"[A-Za-z0-9_$][\w$-]*([./@:][\w$-]+)*", re.ASCII)
_QUOTED = re.compile(r"'(\\.|[^'\\])*'|\"(\\.|[^\"\\])*\"")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_USAGE = {"choice": "choice(a,b,c)", "interval": "interval(1e-4,1e-2)", "range": "range(0,10,2)"}


def parse_error(override: str, message: str) -> ConfigError:
    """The error for ``override``, which Hydra's parser refuses with ``message``."""
    key, equals, value = override.partition("=")
    name = key.lstrip("+~")
    if not equals:
        example = f"{name}=VALUE" if _KEY.fullmatch(name) else "key=value"
        return ConfigError(f"An override must be written key=value, but it is {override!r}. Write {example}.")
    if not _KEY.fullmatch(name):
        return ConfigError(
            "The key of an override must be names with dots between them, without spaces, but in "
            f"{override!r} it is {name!r}. Write key=value or key.inner=value."
        )
    if call := re.search(r"while evaluating '((\w+).*)': (.*)", message):
        usage = f" Write for example {key}={_USAGE[call[2]]}." if call[2] in _USAGE else ""
        return ConfigError(
            f"A function in a value must have the arguments that it takes, but {call[1]} in {override!r} does not: "
            f"{call[3]}.{usage}"
        )
    must, found = _wrong(_QUOTED.sub("q", value))
    return ConfigError(f"{must}, but in {override!r} {found}. {_advice(key, value)}")


def _wrong(value: str) -> tuple[str, str]:
    """What must hold for ``value``, and what was found instead; its quoted parts were removed before."""
    for quote in "'\"":
        if quote in value:
            return "Every quote in a value must be closed", f"a quote {quote} is not"
    must = "Every bracket in a value must be opened and closed"
    opened: list[str] = []
    for character in value:
        if character in _PAIRS.values():
            opened.append(character)
        elif character in _PAIRS and not opened:
            return must, f"the bracket {character!r} is not opened"
        elif character in _PAIRS and opened.pop() != _PAIRS[character]:
            return must, f"the bracket {character!r} closes one of another kind"
    if opened:
        return must, f"the bracket {opened[-1]!r} is not closed"
    if re.search(r"^,|,,|,$", value.replace(" ", "")):
        return "Every comma in a value must be between two values", "one comma is not"
    return "A value with brackets, spaces or special characters must be in quotes", "the value is not"


def _advice(key: str, value: str) -> str:
    inside = value.strip("'\"").replace('"', '\\"')
    quoted = f'{key}="{inside}"'
    if value.startswith("[") and value.endswith("]") and "{" not in value:
        # The texts in a list, and not the list, which would be one text then.
        quoted = f"{key}=[" + ",".join(f'"{one.strip()}"' for one in inside[1:-1].split(",")) + "]"
    try:
        parse([quoted])
    except HydraException:
        return "Correct it, or put a text in quotes."
    return f"Correct it, or put a text in quotes, in a shell as {shlex.quote(quoted)}."

"""Parses the command lines of the verbs that compose no configuration: arguments, and key=value pairs."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

import yaml  # type: ignore[import-untyped]

from autoloss.app.verbs import VERBS
from autoloss.core.errors import ConfigError, unknown
from autoloss.core.io.yaml_file import check_text


class Parser(argparse.ArgumentParser):
    """Parses the arguments of ``autoloss verb``; a mistake is a :class:`ConfigError` and not the end of the process."""

    def __init__(self, verb: str) -> None:
        super().__init__(
            f"autoloss {verb}",
            description=VERBS[verb].what,
            epilog=VERBS[verb].shown_examples().replace("%", "%%"),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_settings(self, help: str) -> None:
        """Let key=value pairs follow the arguments; the parsed ``settings`` are a list of them."""
        self.add_argument("settings", metavar="KEY=VALUE", nargs="*", default=[], type=pair, help=help)

    def error(self, message: str) -> NoReturn:
        if choice := re.match(r"argument (\w+): invalid choice: (['\"])(.*)\2 \(choose from (.*)\)", message):
            raise unknown(choice[1], choice[3], re.findall(r"\w+", choice[4]))
        missing = message.partition("the following arguments are required: ")[2]
        mistake = message[:1].upper() + message[1:].rstrip(".")
        if missing:
            mistake = f"{self.prog} needs {missing}, but got none"
        raise ConfigError(f"{mistake}. See {self.prog} --help.")


def pair(text: str) -> tuple[str, Any]:
    """The key and the value of ``key=value``; a value may be a list ``[a,b]`` or a mapping ``{a:1}``, as in Hydra."""
    key, equals, value = text.lstrip("+").partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"it must read key=value, but it is {text!r}")
    # Hydra's lists and mappings are YAML once a space follows each colon.
    return key, value if key == "weighting" else _plain(key, re.sub(r":(?=\S)", ": ", value))


def _plain(key: str, text: str) -> Any:
    try:
        check_text(text, key)
        return yaml.safe_load(text)
    except (ConfigError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise argparse.ArgumentTypeError(f"the value of {key} cannot be read: {first}") from error

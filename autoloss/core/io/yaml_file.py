"""YAML files of a user or of another person: one that would take minutes or all memory to read is an error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autoloss.core.errors import ConfigError

SIZE = 1_000_000  # characters
DEPTH = 50  # mappings and lists inside each other
COPIES = 10_000  # what aliases repeat, in values
LONGEST = 10_000  # characters of a text without quotes, which may be read as a number to the base 60


def read_text(path: Path) -> str:
    """The text of the YAML file ``path``; raises :class:`ConfigError` if there is none or it is too much to read."""
    if not path.is_file():
        # Not a device or a pipe either, from which reading would not end.
        raise ConfigError(f"A YAML file must exist, but there is no file {str(path)!r}.")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(SIZE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"A YAML file must be text that can be read, but {str(path)!r} is not: {error}.") from error
    check_text(text, str(path))
    return text


def check_text(text: str, file: str) -> None:
    """Raise :class:`ConfigError` if the YAML ``text`` of ``file`` is too long, too deep, or repeats too much.

    A few aliases that stand for each other make a short text mean millions of values.
    """
    import yaml  # type: ignore[import-untyped]

    _check(len(text) <= SIZE, file, f"have at most {SIZE:,} characters", "is longer")
    # The fast parser gives up by itself where nesting is deep, as at any mistake.
    for parser in dict.fromkeys((getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)):
        try:
            _check_events(yaml.parse(text, Loader=parser), file)
        except yaml.YAMLError:
            continue  # who reads the file says so
        return


def _check_events(events: Iterable[Any], file: str) -> None:
    import yaml

    sizes: dict[str | None, int | None] = {}  # of what each alias stands for, in values; None: not read to its end
    inside: list[tuple[str | None, int]] = []
    copies = 0
    for event in events:
        size = 0
        if isinstance(event, yaml.AliasEvent):
            known = sizes.get(event.anchor, 0)
            _check(known is not None, file, "end", f"has an alias, {event.anchor!r}, inside of what it stands for")
            size = known or 0
            copies += size
            _check(copies <= COPIES, file, f"repeat at most {COPIES:,} values by aliases", "repeats more")
        elif isinstance(event, yaml.ScalarEvent):
            quoted = event.style or len(event.value) <= LONGEST
            _check(bool(quoted), file, f"have quotes around texts of over {LONGEST:,} characters", "has none")
            size = sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            inside.append((event.anchor, 1))
            _check(len(inside) <= DEPTH, file, f"nest at most {DEPTH} mappings and lists", "nests more")
            sizes[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = inside.pop()
            sizes[anchor] = size
        if size and inside:
            inside[-1] = inside[-1][0], inside[-1][1] + size


def _check(holds: bool, file: str, rule: str, found: str) -> None:
    if not holds:
        raise ConfigError(f"A YAML file must {rule}, but {file!r} {found}. Write a plainer file.")


def read_yaml(path: Path) -> Any:
    """The plain values in the YAML file ``path``."""
    import yaml

    text = read_text(path)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"A YAML file must be right, but {str(path)!r} is not: {first}.") from error

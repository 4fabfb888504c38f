"""The description that every registered component has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoloss.core.space import Distribution


class Component:
    """A class with a name, defaults in ``__init__`` and a description of itself.

    ``search_space`` gives the distribution of each parameter that is worth a search. ``use`` says in one sentence
    when it is the right choice, ``avoid`` when it is not, and ``citation`` names its source.
    """

    search_space: ClassVar[Mapping[str, Distribution]] = {}
    use: ClassVar[str] = ""
    avoid: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    @classmethod
    def title(cls) -> str:
        """The name that it is registered under, or else the name of the class."""
        if "registered_name" in vars(cls):
            return str(vars(cls)["registered_name"])
        return cls.__module__.rpartition(".")[2] if cls.__module__.startswith("autoloss.") else cls.__name__

    @classmethod
    def card(cls) -> dict[str, Any]:
        """The component's description as plain values: what ``autoloss describe`` prints."""
        return {
            "class": f"{cls.__module__}:{cls.__qualname__}",
            "use": cls.use,
            "avoid": cls.avoid,
            "citation": cls.citation,
            "search_space": {name: str(d) for name, d in cls.search_space.items()},
        }

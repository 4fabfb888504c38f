"""What every registered component says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoloss.core.space import Distribution


class Component:
    """A class with a name, defaults in ``__init__`` and a description of itself.

    ``search_space`` gives the distribution of each parameter worth searching, ``use`` and
    ``avoid`` one sentence each on when it is the right choice, ``citation`` its source.
    """

    search_space: ClassVar[Mapping[str, Distribution]] = {}
    use: ClassVar[str] = ""
    avoid: ClassVar[str] = ""
    citation: ClassVar[str] = ""

    @classmethod
    def title(cls) -> str:
        """The name that people know it by: the one it is registered under, else the class's."""
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

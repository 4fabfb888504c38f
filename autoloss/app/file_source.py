"""Hydra's source of YAML files (``--config-dir``, ``experiment=``), with the limits of :mod:`core.io.yaml_file`."""

from __future__ import annotations

from pathlib import Path

from hydra._internal.core_plugins import file_config_source as of_hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from autoloss.core.io.yaml_file import read_text


class FileConfigSource(of_hydra.FileConfigSource):
    """Checks a file before Hydra reads it.

    A process of a launcher gets the registry from here, and then Hydra registers its own source. Hydra compares the
    names: it leaves one with the same name in place, and raises an error at another.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        if path.exists():
            read_text(path)
        return super().load_config(config_path)


def limit_files() -> None:
    """Let Hydra read files by it; a second call does no harm."""
    Plugins.instance()  # this registers Hydra's own
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource

"""The registry as a Hydra config source: ``weighting=gradnorm weighting.alpha=1`` without any YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoloss.app.file_source import limit_files
from autoloss.core.errors import PluginError
from autoloss.core.registry.defaults import attribute, defaults
from autoloss.core.registry.lookup import ORIGIN, PACKAGE, Listing, registry

DEFAULT_MODULE = "multitask"
GROUPS = ("loss", "module", "problem", "sample_weighting", "weighting")


def conf_dir() -> Path:
    """Where the YAML files are: inside an installed wheel, else beside the package in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


class RegistrySource(ConfigSource):
    """Lists the registered names of a kind as options of a group; builds the node of an option from its class."""

    @staticmethod
    def scheme() -> str:
        return "autoloss"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path.strip("/") in ("", *GROUPS)

    def is_config(self, config_path: str) -> bool:
        kind, name = _split(config_path)
        if kind not in GROUPS:
            return False
        # A plain name that two plugins share counts too: loading it raises an error that lists the full names.
        return ":" in name or any(name in (one.spelling, one.name) for one in registry.listings[kind])

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        path = config_path.strip("/")
        if path == "":
            return [] if results_filter == ObjectType.CONFIG else list(GROUPS)
        return registry.names(path) if path in GROUPS and results_filter != ObjectType.GROUP else []

    def load_config(self, config_path: str) -> ConfigResult:
        kind, name = _split(config_path)
        if not self.is_config(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        build = {"problem": problem_node, "module": module_node}.get(kind)
        node = component_node(kind, name) if build is None else build(name)
        header = {"package": "_global_" if build else None}
        return ConfigResult(self.provider, f"autoloss://{config_path}", OmegaConf.create(node), header)


class RegistrySearchPath(SearchPathPlugin):
    """Puts the registry, and the YAML packages of plugins, on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from importlib.metadata import entry_points

        search_path.append("autoloss", "autoloss://registry")
        for point in entry_points(group="autoloss.conf"):
            search_path.append(f"autoloss-plugin:{point.name}", f"pkg://{point.value}")


def register() -> None:
    """Register both plugins with Hydra, and the limits of files; a second call does no harm."""
    for plugin in (RegistrySource, RegistrySearchPath):
        Plugins.instance().register(plugin)
    limit_files()


def plain_defaults(listing: Listing) -> dict[str, Any]:
    """The parameters of a component with their defaults; :class:`PluginError` if a configuration cannot hold one."""
    found = defaults(listing)
    for key, value in found.items() if listing.origin != ORIGIN else ():
        try:
            OmegaConf.create({key: value})
        except OmegaConfBaseException as error:
            raise PluginError(
                f"The default of {key!r} must be a number, text, or lists and mappings of them, but that of "
                f"{listing.kind} {listing.spelling!r} is {value!r}. Write None, and make it in the constructor."
            ) from error
    return found


def component_node(kind: str, name: str) -> dict[str, Any]:
    """The configuration node of a component: its name and parameters."""
    listing = registry.find(kind, name)
    node: dict[str, Any] = {"name": name, **plain_defaults(listing)}
    if kind == "weighting":
        node["wrap"] = []
    if kind == "sample_weighting":
        node["terms"] = []
    if kind in ("weighting", "sample_weighting") and "seed" in node:
        # Its random numbers differ only between runs with different seeds.
        node["seed"] = "${seed}"
    return node


def problem_node(name: str) -> dict[str, Any]:
    """The configuration node of a problem: its parameters, the losses of its terms, and its recommended settings."""
    listing = registry.find("problem", name)
    terms, recipe = attribute(listing, "terms", {}), attribute(listing, "recipe", {})
    parameters = plain_defaults(listing)
    # Hydra has another meaning for these signs; such a term has its own loss without the configuration.
    kept = {term: loss for term, loss in dict(terms).items() if loss is not None and not {*".:[]"} & {*term}}
    chosen = [{f"/loss@_global_.losses.{term}": loss} for term, loss in kept.items()]
    others = attribute(listing, "discriminator_terms", {})
    chosen += [{f"/loss@_global_.discriminator.losses.{term}": loss} for term, loss in dict(others).items() if loss]
    module = {"override /module": attribute(listing, "module", DEFAULT_MODULE)}
    return {"defaults": [*chosen, "_self_", module], "problem": {"name": name, **parameters}, **dict(recipe)}


def module_node(name: str) -> dict[str, Any]:
    """The configuration node of a module: its parameters, and the options of other groups that it brings."""
    listing = registry.find("module", name)
    brought = [dict([pair]) for pair in dict(attribute(listing, "brings", {})).items()]
    return {"defaults": [*brought, "_self_"], "module": {"name": name, **plain_defaults(listing)}}


def _split(config_path: str) -> tuple[str, str]:
    kind, _, name = config_path.strip("/").partition("/")
    return kind, name.removesuffix(".yaml")

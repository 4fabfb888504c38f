"""The comments of the configuration files: one line for each key, for ``autoloss VERB --help``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from autoloss.app.config_source import GROUPS, conf_dir
from autoloss.app.nested import node_at
from autoloss.core.registry.defaults import parameter_lines
from autoloss.core.registry.lookup import registry

_LINE = re.compile(r"(?P<indent> *)(?P<dash>- )?(?P<key>\w[\w/]*): ?(?P<value>[^#]*?)\s*(#\s*(?P<comment>.*))?$")
_MORE = re.compile(r" {8,}#\s*(?P<comment>.*)$")
_WIDEST = 40  # a longer line has its comment directly behind it
_ADDED = {  # keys that a choice of the group gets beside the component's own parameters
    "weighting.wrap": "what changes its weights: weighting.wrap=[ema] or weighting.wrap=[{ema:{decay:0.9}}]",
    "sample_weighting.terms": "the losses whose samples it weighs; []: all that it can",
}
_SHARED = ("discriminator.", "generator.")  # their keys below are those of the top level


def key_comments(verb: str) -> dict[str, str]:
    """The comment behind each key in the configuration files of ``verb``, by the dotted key."""
    found: dict[str, str] = {}
    folder = conf_dir()
    for path in [folder / "run.yaml", folder / f"{verb}.yaml", *sorted(folder.glob("*/**/*.yaml"))]:
        group = path.parent.relative_to(folder).parts
        prefix = () if group in ((), ("players",)) else group
        for key, comment in _commented(path.read_text(), prefix):
            found.setdefault(key, comment)
    return found


def _commented(text: str, prefix: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each key of a YAML file that has a comment, with it; keys of a list of defaults count as those at the top."""
    place: list[str] = []
    key, said = "", ""
    for line in text.splitlines():
        if (more := _MORE.match(line)) and said:
            said += f" {more['comment']}"
            continue
        if said:
            yield key, said
        said = ""
        if found := _LINE.match(line):
            depth = 0 if found["dash"] else len(found["indent"]) // 2
            place[depth:] = found["key"].split("/")
            key, said = ".".join([*prefix, *place]), found["comment"] or ""
    if said:
        yield key, said


def annotated(config: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """``config`` as YAML, with the comment of each key behind it; that of a component names its card."""
    lines, place = [], list[str]()
    for line in OmegaConf.to_yaml(OmegaConf.create(dict(config))).splitlines():
        found = re.match(r"( *)([\w.:-]+):( |$)", line)
        if found is None:
            lines.append(line)
            continue
        depth = len(found[1]) // 2
        place[depth:] = [found[2]]
        comment = _comment(config, tuple(place), comments)
        lines.append(f"{line:<{_WIDEST}}  # {comment}" if comment else line)
    return "\n".join(lines)


def _comment(config: Mapping[str, Any], place: tuple[str, ...], comments: Mapping[str, str]) -> str:
    key = ".".join(place)
    for spelling in (key, *(key.removeprefix(player) for player in _SHARED if key.startswith(player))):
        if found := comments.get(spelling) or _ADDED.get(spelling):
            return found
    node = node_at(config, place[:-1])
    if place[-2:-1] == ("losses",):
        return f"the loss of {place[-1]}"
    kind = "loss" if "losses" in place[-3:-1] else place[-2] if len(place) > 1 else ""
    if kind not in GROUPS or not isinstance(node, Mapping) or "name" not in node:
        return ""
    if place[-1] == "name":
        return f"autoloss describe {kind} {node['name']}"
    if place[-1] == "seed":
        return "of its random numbers"
    return parameter_lines(registry.find(kind, node["name"])).get(place[-1], f"a parameter of {node['name']}")

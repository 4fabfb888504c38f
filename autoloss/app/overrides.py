"""Rewrites typed overrides for Hydra's grammar, and parses them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from autoloss.core.schedules.pacing import PACINGS
from autoloss.core.schedules.schedule import SCHEDULES

# The user may add keys to these mappings; Hydra refuses a new key without ++.
_OPEN = re.compile(
    r"search\.(losses|space)(\.|=)|losses\.\w+\.(by|groups)=|held_out\.losses(\.|=)|curriculum(\.|=)|"
    r"(discriminator\.)?((base|groups|penalties|constraints)(\.|=)|(weighting|problem)\.\w+(\.[^=]+=|=\{))"
)
_TERM = re.compile(r"((?:discriminator\.)?losses\.\w+)=([\w.:,-]+)$")
_TERM_OF_SEVERAL = re.compile(r"((?:discriminator\.)?losses\.\w+)=((?:[\w.:,-]+,)?\[.*)$")
_COMPONENT = r"((?:discriminator\.)?(?:losses\.\w+|weighting|sample_weighting)|problem|module)"
_NAME = re.compile(rf"{_COMPONENT}\.name=(.*)$")
_NODE = re.compile(rf"{_COMPONENT}=\{{\s*(\w+\s*:.*)\}}\s*$")
_NODES = re.compile(rf"{_COMPONENT}=(.*\{{.*)$")
_ONLY_NAME = re.compile(r"\{\s*name\s*:\s*([\w.:-]+)\s*\}")
_OTHERS = re.compile(r"(discriminator\.(weighting|sample_weighting|optimizer))=([\w.:,-]+)$")
_GROUP = re.compile(r"^(loss|weighting|sample_weighting|optimizer)@")
_SCHEDULE = re.compile(rf"(?<![\w\"'])((?:{'|'.join([*SCHEDULES, *PACINGS, 'learned'])})\([^()]*\))(?![\"'])")


def rewritten(overrides: Sequence[str]) -> list[str]:
    """Rewrite overrides for Hydra's grammar.

    >>> rewritten(["losses.left=focal", "base.kl=1e-6"])
    ['loss@losses.left=focal', '++base.kl=1e-6']
    >>> rewritten(["discriminator.weighting=uncertainty"])
    ['weighting@discriminator.weighting=uncertainty']
    >>> rewritten(["losses.left=[cross_entropy,focal]"])
    ['loss@losses.left=combined', 'losses.left.losses=[cross_entropy,focal]']
    >>> rewritten(["losses.left={name:focal,gamma:1}"])
    ['loss@losses.left=focal', 'losses.left.gamma=1']
    >>> rewritten(["losses.left={name:focal},mse", "weighting.name=dwa"])
    ['loss@losses.left=focal,mse', 'weighting=dwa']
    >>> rewritten(["weighting.schedules.kl=linear(0,1)"])
    ['++weighting.schedules.kl="linear(0,1)"']
    """
    return [one for override in overrides for one in _rewritten(_SCHEDULE.sub(r'"\1"', override))]


def _rewritten(override: str) -> list[str]:
    if override == "module=null":
        return []  # the problem's own, as in 0.1.0; a group of Hydra takes no null from the command line
    if re.match(r"\+\+?module=", override):
        return [override.lstrip("+")]
    if name := _NAME.match(override):
        return _rewritten(f"{name[1]}={name[2]}")
    if nodes := _NODES.match(override):
        override = f"{nodes[1]}={','.join(_only_name(one) for one in _choices(nodes[2]))}"
    if (node := _NODE.match(override)) and (parts := _named_node(node[1], node[2])):
        return [one for part in parts for one in _rewritten(part)]
    if term := _TERM.match(override):
        return [f"loss@{term[1]}={term[2]}"]
    if term := _TERM_OF_SEVERAL.match(override):
        # In a sweep a choice may be a single loss; `combined` of one loss equals that loss.
        each = [one if one.startswith("[") else f"[{one}]" for one in _choices(term[2])]
        return [f"loss@{term[1]}=combined", f"{term[1]}.losses={','.join(each)}"]
    if other := _OTHERS.match(override):
        return [f"{other[2]}@{other[1]}={other[3]}"]
    return [f"++{override}" if _OPEN.match(override) else override]


def _only_name(choice: str) -> str:
    found = _ONLY_NAME.fullmatch(choice.strip())
    return found[1] if found else choice


def _named_node(key: str, inside: str) -> list[str]:
    """``key=NAME`` and the parameters as keys of their own, for ``{name:NAME,...}``; none where that is not written.

    >>> _named_node("losses.left", "focal:{gamma:1}")
    ['losses.left=focal', 'losses.left.gamma=1']
    """
    pairs = _pairs(inside)
    if len(pairs) == 1 and pairs[0][0] != "name" and pairs[0][1].startswith("{") and "losses." in key:
        # A loss that is combined with others is written so.
        name, own = pairs[0]
        pairs = [("name", name), *_pairs(own[1:-1])]
    named = dict(pairs)
    name = named.pop("name", "")
    if not re.fullmatch(r"[\w.:-]+", name) or not all(re.fullmatch(r"\w+", one) for one in named):
        return []
    return [f"{key}={name}", *(f"{key}.{one}={value}" for one, value in named.items())]


def _pairs(inside: str) -> list[tuple[str, str]]:
    """The names and the values of a mapping, from what stands between its braces."""
    parts = [one.partition(":") for one in _choices(inside)] if inside.strip() else []
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _choices(text: str) -> list[str]:
    """The parts of ``text`` between the commas that stand outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def ungrouped(key: str) -> str:
    """The key of an override as the user types it: without the group that Hydra needs before it."""
    return _GROUP.sub("", key)


def parse(overrides: Sequence[str]) -> list[Override]:
    """Parse ``overrides``; Hydra raises an error if one is not ``key=value``."""
    return OverridesParser.create().parse_overrides(list(overrides))

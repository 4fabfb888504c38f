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
_OTHERS = re.compile(r"(discriminator\.(weighting|sample_weighting|optimizer))=([\w.:,-]+)$")
_GROUP = re.compile(r"^(loss|weighting|optimizer)@")
_SCHEDULE = re.compile(rf"(?<![\w\"'])((?:{'|'.join([*SCHEDULES, *PACINGS, 'learned'])})\([^()]*\))(?![\"'])")


def rewritten(overrides: Sequence[str]) -> list[str]:
    """Rewrite overrides for Hydra's grammar.

    >>> rewritten(["losses.left=focal", "base.kl=1e-6"])
    ['loss@losses.left=focal', '++base.kl=1e-6']
    >>> rewritten(["discriminator.weighting=uncertainty"])
    ['weighting@discriminator.weighting=uncertainty']
    >>> rewritten(["losses.left=[cross_entropy,focal]"])
    ['loss@losses.left=combined', 'losses.left.losses=[cross_entropy,focal]']
    >>> rewritten(["weighting.schedules.kl=linear(0,1)"])
    ['++weighting.schedules.kl="linear(0,1)"']
    """
    return [one for override in overrides for one in _rewritten(_SCHEDULE.sub(r'"\1"', override))]


def _rewritten(override: str) -> list[str]:
    if override == "module=null":
        return []  # the problem's own, as in 0.1.0; a group of Hydra takes no null from the command line
    if re.match(r"\+\+?module=", override):
        return [override.lstrip("+")]
    if term := _TERM.match(override):
        return [f"loss@{term[1]}={term[2]}"]
    if term := _TERM_OF_SEVERAL.match(override):
        # In a sweep a choice may be a single loss; `combined` of one loss equals that loss.
        each = [one if one.startswith("[") else f"[{one}]" for one in _choices(term[2])]
        return [f"loss@{term[1]}=combined", f"{term[1]}.losses={','.join(each)}"]
    if other := _OTHERS.match(override):
        return [f"{other[2]}@{other[1]}={other[3]}"]
    return [f"++{override}" if _OPEN.match(override) else override]


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

"""``autoloss describe weighting gradnorm``: prints the card of a component."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from autoloss.app.arguments import Parser
from autoloss.core.registry.defaults import REQUIRED, defaults
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry


def main(arguments: Sequence[str]) -> int:
    """Print the card of one component."""
    parser = Parser("describe", "What a component does, and when to use it.")
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("name", help="a registered name, or module:Name")
    parser.add_argument("--json", action="store_true", help="print the card as JSON")
    options = parser.parse_args(arguments)
    card = describe(options.kind, options.name)
    print(json.dumps(card, indent=2, default=str) if options.json else _text(options.name, card))
    return 0


def describe(kind: str, name: str) -> dict[str, Any]:
    """The card of a component: what its class says about itself, as plain values."""
    target = registry.load(kind, name)
    listing = registry.find(kind, name)
    skip = 1 if kind == "wrapper" else 0
    card: dict[str, Any] = {"kind": kind, "what": inspect.cleandoc(target.__doc__ or "")}
    if inspect.isclass(target) and issubclass(target, Component):
        card.update(target.card())
        card["parameters"] = defaults(listing, skip)
    if kind == "sample_weighting":
        card["needs"] = [str(need.name) for need in target.needs]
    if kind == "weighting":
        card["needs"] = [str(need.name) for need in target.needs]
        card["cost"] = next((signal.cost for signal in SIGNALS if signal.need in target.needs), "a plain step")
    return card


def _text(name: str, card: dict[str, Any]) -> str:
    lines = [f"{card['kind']} {name}", "", _prose(card["what"]), ""]
    for key in ("needs", "cost", "takes", "use", "avoid", "outliers", "imbalance", "gradients", "citation"):
        value = card.get(key)
        if value:
            shown = ("; " if key == "takes" else ", ").join(value) if isinstance(value, list) else value
            lines.append(f"{key + ':':<10} {shown}")
    if card.get("parameters"):
        lines += ["", "parameters:"]
        for parameter, default in card["parameters"].items():
            space = card["search_space"].get(parameter)
            shown = "required" if default == REQUIRED else repr(default)
            lines.append(f"  {parameter} = {shown}" + (f"   (searched: {space})" if space else ""))
    return "\n".join(lines)


def _prose(text: str) -> str:
    """The docstring without its doctest."""
    return text.partition("\n>>>")[0].rstrip().replace("``", "")

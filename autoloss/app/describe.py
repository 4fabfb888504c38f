"""``autoloss describe gradnorm``: prints the card of a component."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from autoloss.app.arguments import Parser
from autoloss.app.key_comments import key_comments
from autoloss.core.errors import ConfigError, PluginError, unknown
from autoloss.core.registry.defaults import REQUIRED, defaults
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry


def main(arguments: Sequence[str]) -> int:
    """Print the card of one component, or of each that has the name."""
    parser = Parser("describe")
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="only that of this kind")
    parser.add_argument("name", help="a registered name, or module:Name")
    parser.add_argument("--json", action="store_true", help="print the card as JSON; a list of several")
    options = parser.parse_args(arguments)
    kinds = [options.kind] if options.kind else kinds_of(options.name)
    cards = [describe(kind, options.name) for kind in kinds]
    if options.json:
        print(json.dumps(cards[0] if len(cards) == 1 else cards, indent=2, default=str))
    else:
        print("\n\n\n".join(_text(options.name, card) for card in cards))
    return 0


def kinds_of(name: str) -> list[str]:
    """The kinds of which a component is called ``name``; an error if there is none."""
    listed = [kind for kind, of in registry.listings.items() if any(name in (one.spelling, one.name) for one in of)]
    if listed:
        return listed
    if name in KINDS:
        raise ConfigError(
            f"A component must be named, but {name!r} is a kind. Write autoloss plugins {name} for a list of them."
        )
    if name.lower() != name and any(name.lower() in registry.names(kind) for kind in KINDS):
        raise ConfigError(f"Names of components have small letters, but {name!r} was given. Write {name.lower()}.")
    if name in {key.partition(".")[0] for key in key_comments("train")}:
        raise ConfigError(
            f"A component must be named, but {name!r} is a key of a run. See autoloss train --help for what it takes."
        )
    if ":" not in name:
        raise unknown("component", name, {one for kind in KINDS for one in registry.names(kind)})
    for kind in KINDS:  # the base class of what is there says its kind
        try:
            registry.load(kind, name)
        except PluginError as error:
            refused = error
        else:
            return [kind]
    raise refused


def describe(kind: str, name: str) -> dict[str, Any]:
    """The card of a component: what its class says about itself, as plain values."""
    target = registry.load(kind, name)
    from autoloss.core.component import Component  # these import torch: --help is answered without it
    from autoloss.core.need import members
    from autoloss.core.signals import SIGNALS

    listing = registry.find(kind, name)
    skip = 1 if kind == "wrapper" else 0
    card: dict[str, Any] = {"kind": kind, "what": inspect.cleandoc(target.__doc__ or "")}
    if inspect.isclass(target) and issubclass(target, Component):
        card.update(target.card())
        card["parameters"] = defaults(listing, skip)
    if kind == "sample_weighting":
        card["needs"] = members(target.needs)
    if kind == "weighting":
        card["needs"] = members(target.needs)
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

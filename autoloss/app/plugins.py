"""``autoloss plugins``: lists every component, and the package that it comes from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

from autoloss.app.arguments import Parser
from autoloss.core.errors import AutolossError
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import Listing, registry


def main(arguments: Sequence[str]) -> int:
    """List the registry from metadata alone, or with ``--check`` load everything."""
    parser = Parser("plugins")
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="only these, with what each does and costs")
    parser.add_argument("--json", action="store_true", help="print a list of JSON objects")
    parser.add_argument(
        "--check", action="store_true", help="load and build everything; exit 1 if something is broken or clashes"
    )
    options = parser.parse_args(arguments)
    kinds = [options.kind] if options.kind else list(KINDS)
    listings = [listing for kind in kinds for listing in registry.listings[kind]]
    found = {listing: _status(listing) if options.check else _clash(listing) for listing in listings}
    if options.json:
        print(json.dumps([_row(listing, status) for listing, status in found.items()], indent=2))
    elif options.kind:
        _print_kind(listings)
    else:
        _print(found)
    bad = [status for status in found.values() if status != "ok"]
    if options.check and bad:
        print(f"autoloss: {len(bad)} of {len(found)} components cannot be used.", file=sys.stderr)
        return 1
    return 0


def _print(found: dict[Listing, str]) -> None:
    width = max(len(listing.spelling) for listing in found)
    for listing, status in found.items():
        origin = f"{listing.origin} {listing.version}".strip()
        remark = "" if status == "ok" else f"  {status}"
        print(f"{listing.kind:<16} {listing.spelling:<{width}}  {origin}{remark}")


def _print_kind(listings: Sequence[Listing]) -> None:
    """Print a line about each component, below what those of one cost cost."""
    by_cost: dict[str, list[tuple[str, str]]] = {}
    for listing in listings:
        cost, line = _summary(listing)
        by_cost.setdefault(cost, []).append((listing.spelling, line))
    width = max(len(listing.spelling) for listing in listings)
    for cost, rows in by_cost.items():
        print("\n".join([*([f"cost: {cost}"] if cost else []), *(f"  {name:<{width}}  {line}" for name, line in rows)]))


def _summary(listing: Listing) -> tuple[str, str]:
    """The cost of a component, empty where none is known, and the first sentence about it."""
    from autoloss.app.describe import describe

    try:
        card = describe(listing.kind, listing.spelling)
    except AutolossError as error:
        return "none: it cannot be used", str(error)
    first, *more = card["what"].replace("``", "").split("\n\n")
    if first.endswith(":") and more:
        first = f"{first} {more[0].splitlines()[0]}"  # the formula
    return card.get("cost", ""), re.split(r"(?<=[.]) (?=[A-Z])", " ".join(first.split()))[0]


def _row(listing: Listing, status: str) -> dict[str, str]:
    return {
        "kind": listing.kind,
        "name": listing.spelling,
        "distribution": listing.origin,
        "version": listing.version,
        "target": listing.target,
        "status": status,
    }


def _clash(listing: Listing) -> str:
    return f"clash: {listing.name!r} is taken; write {listing.spelling}" if listing.clash else "ok"


def _status(listing: Listing) -> str:
    from autoloss.app.plugin_check import check_component

    try:
        check_component(listing)
    except AutolossError as error:
        return f"broken: {error}"
    return _clash(listing)

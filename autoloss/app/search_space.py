"""Builds the search space of a configuration, and checks it before anything trains."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, QuotedString, RangeSweep
from hydra.errors import HydraException

from autoloss.app.current_config import OLD_KEY
from autoloss.app.overrides import parse
from autoloss.core.errors import ConfigError, check_known, require, unknown
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import wrappers_of
from autoloss.core.schedules.progressive import build
from autoloss.core.space import Choice, Distribution, Interval, Range
from autoloss.core.terms import Terms
from autoloss.search.space import BASELINE, STATIC, Space, normalising


def build_space(config: Mapping[str, Any], problem: Problem) -> Space:
    """The space of ``config.search`` for ``problem``."""
    search = config["search"]
    base = {name: factor for name, factor in config["base"].items() if name not in config["penalties"]}
    terms = Terms(list(problem.terms), base, config["groups"])
    names = list(dict.fromkeys([BASELINE, *search["weightings"]]))
    weightings = {name: dict(registry.load("weighting", name).search_space) for name in names}
    check_known("loss", search["losses"], problem.terms)
    losses = {}
    for term, options in search["losses"].items():
        typed = re.fullmatch(r"[A-Za-z_]\w*", term, re.ASCII) is not None
        advice = "Rename it to search for it; its weight can be searched under any name."
        require(typed, "A loss in search.losses must have a name of letters, digits and _", f"it is {term!r}", advice)
        losses[term] = tuple(map(_option, options))
    single = dict.fromkeys(one for options in search["losses"].values() for one in options if isinstance(one, str))
    numbers = {name: registry.load("loss", name).search_space for name in single} if search["loss_numbers"] else {}
    keys = {key: distribution(key, text) for key, text in flat(search["space"]).items()}
    for key in keys:
        _check_key(config, key)
    wrappers = config["weighting"].get("wrap") or []
    own = list(wrappers) if isinstance(wrappers, list) else [wrappers]
    wrap = normalising(weightings) if search["normalise"] else {}
    there = [name for name, _ in wrappers_of(own)]
    more = {name: [one for one in of if one not in there] for name, of in wrap.items()}
    wrap = {name: [*own, *more.get(name, ())] for name in weightings if name not in (BASELINE, STATIC)}
    balanced = tuple(unit for unit in terms.units if unit not in config["unbalanced"])
    found = f"unbalanced is {config['unbalanced']}"
    require(bool(balanced), "A search must have a loss whose weight it can choose", found)
    return Space(balanced, weightings, losses, keys, float(search["decades"]), wrap=wrap, numbers=numbers)


def _option(loss: Any) -> str:
    """One loss to choose from, as it is typed; a list among the choices is one choice: its losses combined."""
    if isinstance(loss, str):
        registry.load("loss", loss)
        return loss
    build("loss", loss)
    return re.sub(r"['\" ]", "", str(loss))


def distribution(key: str, text: Any) -> Distribution:
    """The distribution that ``text`` describes in Hydra's sweep grammar.

    >>> distribution("lr", "tag(log, interval(1e-4,1e-2))")
    Interval(low=0.0001, high=0.01, log=True)
    """
    if isinstance(text, list):
        return Choice(tuple(text))
    try:
        value = parse([f"{key}={text}"])[0].value()
    except HydraException as error:
        first = " ".join(str(error).splitlines()[:2])
        raise ConfigError(
            f"search.space.{key} must follow Hydra's sweep grammar, but {text!r} does not: {first}."
        ) from error
    if isinstance(value, IntervalSweep):
        if isinstance(value.start, int) and isinstance(value.end, int):  # int(interval(1, 8))
            return Range(value.start, value.end, "log" in value.tags)
        low, high = float(value.start or 0), float(value.end or 0)
        # Over two decades or more a uniform draw would almost never be small.
        return Interval(low, high, "log" in value.tags or (low > 0 and high / low >= 100))
    if isinstance(value, RangeSweep):
        return _stepped(value)
    if isinstance(value, ChoiceSweep):
        return Choice(tuple(str(v) if isinstance(v, QuotedString) else v for v in value.list))  # type: ignore[misc]
    raise ConfigError(f"search.space.{key} must be interval(...), choice(...) or range(...), but it is {text!r}.")


def _stepped(sweep: RangeSweep) -> Distribution:
    start, stop, step = sweep.start or 0, sweep.stop or 0, sweep.step
    whole = all(float(number).is_integer() for number in (start, stop, step))
    if whole and step == 1:
        return Range(int(start), int(stop) - 1)
    count = max(0, round((float(stop) - float(start)) / float(step)))
    return Choice(tuple(float(start) + i * float(step) for i in range(count)))


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out


def _check_key(config: Mapping[str, Any], key: str) -> None:
    known = flat({name: node for name, node in config.items() if name != "search"})
    old, _, parameter = key.partition(".")
    if old == OLD_KEY and f"module.{parameter}" in known:
        return
    if key not in known:
        raise unknown("key", key, known)

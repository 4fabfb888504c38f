"""Components from what people write: a name, a mapping, or the object itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from autoloss.core.errors import check_known, require, unknown
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named, wrappers_of
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.schedules.progressive import build as build_progressive
from autoloss.core.weighting import Weighting


def build(kind: str, given: Any) -> Any:
    """The component of ``kind`` that ``given`` says: a name, ``{"name": ..., parameters}``, or the object itself.

    ``kind`` is ``"loss"``, ``"penalty"``, ``"weighting"``, ``"sample_weighting"`` or ``"problem"``. A name is that of a
    built-in, of a plugin, or an import path ``module:Name``. A number of a loss or penalty may be a schedule,
    ``linear(0,2)``; a list of losses is their mean; a weighting's key ``wrap`` names the wrappers around it, the
    innermost first. Raises :class:`AutolossError` for a misspelt name and for parameters that cannot be used.

    >>> build("weighting", {"name": "dwa", "temperature": 3.0}).temperature
    3.0
    >>> build("loss", {"name": "focal", "gamma": "linear(0,2)"}).gamma
    0.0
    """
    if kind not in _BUILD:
        raise unknown("kind of component that is built from its name", kind, _BUILD)
    return _BUILD[kind](given)


def build_loss(node: str | Mapping[str, Any]) -> Loss:
    """The loss that a node of ``config.losses`` names."""
    loss: Loss = build_progressive("loss", node)
    return loss


def loss_nodes(
    losses: Mapping[str, Any], terms: Mapping[str, str | Mapping[str, Any] | None], whose: str = ""
) -> dict[str, str | Mapping[str, Any]]:
    """The loss of each of the ``terms``: what the configuration's ``losses`` say, and else the problem's own."""
    check_known(f"{whose} loss".strip(), losses, terms)
    nodes: dict[str, str | Mapping[str, Any]] = {}
    for name, default in terms.items():
        node = losses.get(name, default)
        if node is not None:
            nodes[name] = _with_defaults(node, default) if isinstance(node, Mapping) else node
    return nodes


def _with_defaults(node: Mapping[str, Any], default: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """``node`` with the problem's own loss and its parameters where it does not choose another loss."""
    own = default if isinstance(default, Mapping) else {"name": default}
    return {**own, **node} if node.get("name", own["name"]) == own["name"] else node


def build_weighting(given: str | Mapping[str, Any] | Weighting) -> Weighting:
    """The weighting that ``given`` names, inside the wrappers of its ``wrap`` key; the first is the innermost."""
    if isinstance(given, Weighting):
        return given
    name, parameters = named("weighting", given, "{'name': 'gradnorm', ...}")
    wrap = wrappers_of(parameters.pop("wrap", None) or ())
    weighting = cast(Weighting, registry.build("weighting", name, **parameters))
    for wrapper, options in wrap:
        weighting = cast(Weighting, registry.build("wrapper", wrapper, weighting, **options))
    return weighting


def build_sample_weighting(given: str | Mapping[str, Any] | SampleWeighting) -> SampleWeighting:
    """The sample weighting that ``given`` names; its key ``terms`` names the losses whose samples it weighs."""
    if isinstance(given, SampleWeighting):
        return given
    name, parameters = named("sample weighting", given, "{'name': 'self_paced', ...}")
    terms = parameters.pop("terms", None) or ()
    good = isinstance(terms, Sequence) and all(isinstance(term, str) for term in terms)
    require(good, "`terms` must name losses", f"it is {terms!r}", "Write terms=[left,right].")
    weighting = cast(SampleWeighting, registry.build("sample_weighting", name, **parameters))
    weighting.terms = (terms,) if isinstance(terms, str) else tuple(terms)
    return weighting


def _build_problem(given: str | Mapping[str, Any] | Problem) -> Problem:
    if isinstance(given, Problem):
        return given
    name, parameters = named("problem", given, "{'name': 'two_digits', ...}")
    return cast(Problem, registry.build("problem", name, **parameters))


_BUILD: dict[str, Callable[[Any], Any]] = {
    "loss": partial(build_progressive, "loss"),
    "penalty": partial(build_progressive, "penalty"),
    "problem": _build_problem,
    "sample_weighting": build_sample_weighting,
    "weighting": build_weighting,
}

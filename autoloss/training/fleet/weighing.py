"""The weights of M members: their weightings are mapped where they can be, and called one by one where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from autoloss.core.measured.signal import AfterStep
from autoloss.core.need import GRADIENTS
from autoloss.core.signals import Signals
from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe import Measured
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.measure import like
from autoloss.training.fleet.stacked import mapped
from autoloss.training.step.weigh import Weighed, ask

OF_BATCH, OF_WINDOW = "outcome of batch", "outcome of window"  # what was measured after a step, among the numbers
Numbers = dict[str, Any]


def ask_one(weighting: Weighting, numbers: Numbers, layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The effective weights [N], the values and the presence [K] that ``weighting`` saw, and the counts [K]."""
    numbers, layout = seen_by(weighting, numbers, layout)
    weights, signals, counts = ask(
        losses_of(numbers, layout),
        weighting,
        terms_of(numbers, layout),
        layout.clock,
        measured_of(numbers, layout),
        numbers.get("unbalanced"),
        any(layout.declared),
    )
    return weights, signals.values, signals.present, counts


def member_of(numbers: Numbers, member: int) -> Numbers:
    """The numbers of one member."""
    found: Numbers = pytree.tree_map(lambda tensor: tensor[member], numbers)
    return found


def seen_by(weighting: Weighting, numbers: Numbers, layout: Layout) -> tuple[Numbers, Layout]:
    """What ``weighting`` sees: not the gradients that others need in this step, nor whom they reached."""
    if not any(layout.declared) and not weighting.needs & GRADIENTS:
        numbers = {key: value for key, value in numbers.items() if key != "unbalanced"}
    compares = weighting.needs_at(layout.clock.step) & GRADIENTS
    return (numbers, layout) if compares else without_gradients(numbers, layout)


def with_outcome(
    window: Sequence[Numbers], outcome: Sequence[tuple[AfterStep, Tensor | list[Tensor]]]
) -> list[Numbers]:
    """``window`` with what was measured after its step: of the window as a whole, or of each micro-batch."""
    if not outcome:
        return list(window)
    whole = {signal.name: of for signal, of in outcome if isinstance(of, Tensor)}
    each = {signal.name: of for signal, of in outcome if not isinstance(of, Tensor)}
    return [
        {**numbers, OF_WINDOW: whole, OF_BATCH: {name: of[i] for name, of in each.items()}}
        for i, numbers in enumerate(window)
    ]


def gathered(losses: Reduced, base: Tensor | None, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """The units' values, counts and presence, [M, K] each; ``base`` [M, N] are base weights that differ."""
    if base is None and layout.terms.plain:
        return losses.values, losses.counts, losses.present
    numbers = {"values": losses.values, "counts": losses.counts, "present": losses.present}
    found: tuple[Tensor, Tensor, Tensor] = mapped(
        lambda of: terms_of(of, layout).gather(losses_of(of, layout)), _with(numbers, base)
    )
    return found


def collected(slopes: Tensor, base: Tensor | None, layout: Layout) -> Tensor:
    """The derivatives for the units' weights [M, K], from those for the losses' effective weights [M, N]."""
    found: Tensor = mapped(lambda of: terms_of(of, layout).collect(of["slopes"]), _with({"slopes": slopes}, base))
    return found


def without_gradients(numbers: Numbers, layout: Layout) -> tuple[Numbers, Layout]:
    """What a weighting sees that compares no gradients, where others do."""
    if layout.reached is None:
        return numbers, layout
    left = {key: value for key, value in numbers.items() if key not in ("signals", "rows", "reached")}
    return left, replace(layout, reached=None, items=(), templates={})


def weighed_of(numbers: Numbers, layout: Layout) -> Weighed:
    """A micro-batch of one member, without a graph; ``numbers`` hold what the weighting saw and gave, too."""
    measured, clock, losses = measured_of(numbers, layout), layout.clock, losses_of(numbers, layout)
    signals = Signals(
        layout.terms.units,
        numbers["seen"],
        numbers["balanced"],
        clock.step,
        clock.epoch,
        clock.progress,
        clock.plateaus,
        whole=layout.whole and (layout.balanced or ("unbalanced" not in numbers and not layout.reached)),
        **{f"measured_{name}": value for name, value in (measured.signals if measured else {}).items()},
    )
    # At a fork the total has the base weights, which the heads get.
    total = numbers["total"] if "total" in numbers else (numbers["weights"] * losses.values).sum()
    return Weighed(total, numbers["weights"], losses, signals, numbers["unit_counts"], measured)


def _with(numbers: Numbers, base: Tensor | None) -> Numbers:
    return numbers if base is None else {**numbers, "base": base}


def losses_of(numbers: Numbers, layout: Layout) -> Reduced:
    """The losses of one member, without their graphs."""
    return Reduced((), numbers["values"], numbers["counts"], numbers["present"], layout.masked, whole=layout.whole)


def terms_of(numbers: Numbers, layout: Layout) -> Terms:
    """The losses' names and units, with the base weights of one member."""
    return layout.terms.with_base(numbers["base"].unbind()) if "base" in numbers else layout.terms


def measured_of(numbers: Numbers, layout: Layout) -> Measured | None:
    """What was measured of one member's gradients; ``None`` if nothing was."""
    if layout.reached is None:
        return None
    signals = {name: like(name, layout.templates[name], parts) for name, parts in numbers["signals"].items()}
    rows, items = numbers.get("rows"), layout.items
    if "reached" in numbers:
        return Measured(numbers["reached"], signals, rows, items)
    reached = flags(layout.reached, numbers["values"].device)
    return Measured(reached, signals, rows, items, whole=all(layout.reached), here=layout.reached)

"""What became of the weight of each loss, in one sentence for all losses of which the same is to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoloss.report.record import Array, PlayerRecord
from autoloss.report.said import between, names, times

TAIL = 0.1  # the last tenth of the record is its end
VANISHED = 1e-3  # of the gradient's norm at the start
MOVED = 1.25  # a factor nearer to 1 is no change, and no reason for one
EXPLAINED = 0.5  # of a change (its logarithm), from which a gradient norm is its reason

# Of one loss and of several, by kind; {names} and the range of each number.
TEXTS = {
    "no values": (
        "{names} has no values: no recorded batch had this loss.",
        "{names} have no values: no recorded batch had these losses.",
    ),
    "zero": (
        "The gradient of {names} is 0 in all measured steps: it does not train the shared layers.",
        "The gradients of {names} are 0 in all measured steps: they do not train the shared layers.",
    ),
    "vanished": (
        "The gradient of {names} has vanished: its norm fell from {0} to {1}.",
        "The gradients of {names} have vanished: their norms fell from {0} to values of {1}.",
    ),
    "one step": (
        "{names} has the weight {0}; only one step was recorded.",
        "{names} have weights of {0}; only one step was recorded.",
    ),
    "off": (
        "{names} is switched off at the end: its weight is 0.",
        "{names} are switched off at the end: their weights are 0.",
    ),
    "kept": ("{names} kept its weight of {0}.", "{names} kept their weight of {0}."),
    "nearly": (
        "{names} kept nearly the same weight: {0} at the end, always between {1} and {2}.",
        "{names} kept nearly the same weights: {0} at the end, always between {1} and {2}.",
    ),
}
REASONS = {
    "because": (" because its {} was {} that of the others", " because their {} were {} those of the others"),
    "part": (
        ", in part because its {} was {} that of the others",
        ", in part because their {} were {} those of the others",
    ),
    "while": (" while its {} was {} that of the others", " while their {} were {} those of the others"),
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What is to say of a loss: its ``kind``, and the ``numbers`` of its sentence.

    A loss that was scaled has the ``way`` (down or up) as its kind, and the word and measure of its ``reason``.
    """

    name: str
    kind: str
    numbers: tuple[float, ...] = ()
    reason: tuple[str, str] | None = None


def about_losses(part: PlayerRecord, steps: Array) -> list[str]:
    """One sentence for all losses of which the same is to say, in the order of the losses."""
    groups: dict[tuple[object, ...], list[Fate]] = {}
    for name in part.losses:
        fate = fate_of(part, name, steps)
        same = between(fate.numbers) if fate.kind == "kept" else ""
        groups.setdefault((fate.kind, fate.reason, same), []).append(fate)
    return [_sentence(of) for of in groups.values()]


def fate_of(part: PlayerRecord, name: str, steps: Array) -> Fate:
    """Whether the gradient of a loss vanished, or how its weight changed, with the reason, or that it stayed."""
    title, weights = part.title(name), part.weights.get(name, np.empty(0))
    known = np.isfinite(weights)
    if not known.any():
        return Fate(title, "no values")
    unit = unit_of(part, name)
    if gone := _vanished(part, title, unit):
        return gone
    base = part.base.get(name, 1.0) or 1.0
    ratios, at = np.abs(weights[known]) / abs(base), steps[known]
    if len(at) < 2:
        return Fate(title, "one step", (float(weights[known][0]),))
    end = float(np.median(ratios[-tail(ratios) :]))
    if end <= 0:
        return Fate(title, "off")
    if 1 / MOVED < end < MOVED:
        last, low, high = (float(ratio * base) for ratio in (end, ratios.min(), ratios.max()))
        still = f"{low:.3g}" == f"{high:.3g}"
        return Fate(title, "kept", (last,)) if still else Fate(title, "nearly", (last, *sorted((low, high))))
    moved = np.log(np.maximum(ratios, 1e-30)) / np.log(end)
    when = float(at[int(np.argmax(moved >= 0.9))])
    way, factor = ("down", 1 / end) if end < 1 else ("up", end)
    word, what, ratio = _reason(part, unit, way, factor)
    return Fate(title, way, (factor, when, ratio), (word, what) if word else None)


def _sentence(fates: Sequence[Fate]) -> str:
    one, several = fates[0], len(fates) > 1
    who, numbers = names([fate.name for fate in fates]), list(zip(*(fate.numbers for fate in fates), strict=True))
    if one.kind == "nearly":
        last, low, high = between(numbers[0]), f"{min(numbers[1]):.3g}", f"{max(numbers[2]):.3g}"
        return TEXTS["nearly"][several].format(last, low, high, names=who)
    if one.kind in TEXTS:
        return TEXTS[one.kind][several].format(*(between(of) for of in numbers), names=who)
    verb, factor, when = "were" if several else "was", times(numbers[0]), between(numbers[1], ".0f")
    said = f"{who} {verb} scaled {one.kind} {factor} by step {when}"
    if one.reason is None:
        return f"{said}."
    word, what = one.reason
    return said + REASONS[word][several].format(what + "s" * several, times(numbers[2])) + "."


def _vanished(part: PlayerRecord, title: str, unit: str) -> Fate | None:
    """The fate of a loss whose gradient is 0, or almost 0 at the end."""
    norms = finite(part.grad_norms.get(unit))
    if len(norms) < 10:
        return None
    first, last = float(np.median(norms[: tail(norms)])), float(np.median(norms[-tail(norms) :]))
    if first == 0 == last:
        return Fate(title, "zero")
    return Fate(title, "vanished", (first, last)) if last <= VANISHED * first else None


def _reason(part: PlayerRecord, unit: str, way: str, factor: float) -> tuple[str, str, float]:
    """Why a weight changed by ``factor``: the gradient norm (or the value) at the end, as a multiple of the others'.

    The others are those that did not go the same way, and theirs is the geometric mean. A norm is called the reason if
    it explains at least half of the change (on a logarithmic scale), so that no sentence explains 14x by 1.5x.
    """
    for kind, what, of in (("grad_norm", "gradient norm", part.units), ("loss_raw", "value", part.losses)):
        table = part.of(kind, of)
        key = unit if kind == "grad_norm" else next((n for n in of if unit_of(part, n) == unit), unit)
        ends = {name: _end(x) for name, x in table.items()}
        own = ends.pop(key, 0.0)
        # Losses that went the same way have the same reason: they are not the others.
        apart = {name: end for name, end in ends.items() if _way(part, name) != way}
        others = [end for end in (apart or ends).values() if end > 0]
        if not others or not own > 0:
            continue
        ratio = own / float(np.exp(np.mean(np.log(others))))
        if 1 / MOVED < ratio < MOVED:
            return "", "", 0.0
        cause = np.log(ratio) if way == "down" else -np.log(ratio)
        if cause <= 0 or not part.measures or kind != "grad_norm":
            return "while", what, ratio
        return ("because" if cause >= EXPLAINED * np.log(factor) else "part"), what, ratio
    return "", "", 0.0


def _way(part: PlayerRecord, unit: str) -> str:
    """Where the weights of a unit went: down, up, or nowhere."""
    members = part.groups.get(unit, (unit,))
    ratios = [_end(part.weights[n]) / abs(part.base.get(n, 1.0) or 1.0) for n in members if n in part.weights]
    end = ratios[0] if ratios else 1.0
    return "" if 1 / MOVED < end < MOVED else "down" if end < 1 else "up"


def _end(values: Array) -> float:
    known = np.abs(finite(values))
    return float(np.median(known[-tail(known) :])) if len(known) else 0.0


def unit_of(part: PlayerRecord, name: str) -> str:
    """The unit of a loss: its group, or itself."""
    return next((group for group, members in part.groups.items() if name in members), name)


def finite(values: Array | None) -> Array:
    """Those of ``values`` that are finite."""
    return np.empty(0) if values is None else values[np.isfinite(values)]


def tail(values: Array) -> int:
    """How many of ``values`` are its end."""
    return max(1, round(TAIL * len(values)))

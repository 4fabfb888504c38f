"""Says in sentences what happened in a run; every number in them can be found in ``trajectory.csv``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autoloss.report.record import Array, PlayerRecord, RunRecord

TAIL = 0.1  # the last tenth of the record is its end
CONSTANT = 0.05  # weights that stay this close to their mean in the second half of the record are constant
VANISHED = 1e-3  # of the gradient's norm at the start
CONFLICT = 0.1  # a pair that conflicts in fewer of the steps gets no sentence
MOVED = 1.25


def findings(record: RunRecord) -> list[str]:
    """All sentences about a run: one for each loss, then those about several losses."""
    if not len(record.steps):
        return ["Nothing was recorded: there is no trajectory.csv, or it holds no step."]
    said: list[str] = []
    for part in record.parts.values():
        said += [sentence for name in part.losses if (sentence := about_loss(part, name, record.steps))]
        said += [
            f"The base weight of `{part.title(name)}` follows {text}; its weight holds it."
            for name, text in part.base_schedules.items()
            if isinstance(text, str)
        ]
        said += [sentence for name, values in part.numbers.items() if (sentence := about_number(name, values))]
        said += [*by_values(part), *conflicts(part), *constant(part), *oscillation(part), *scale(part)]
    return [*said, *overfitting(record), *gaps(record)]


def about_loss(part: PlayerRecord, name: str, steps: Array) -> str:
    """One sentence on a loss: its gradient vanished, its weight changed (with the reason), or its weight stayed."""
    weights = part.weights.get(name, np.empty(0))
    known = np.isfinite(weights)
    if not known.any():
        return f"`{part.title(name)}` has no values: no recorded batch had this loss."
    unit = _unit(part, name)
    if gone := vanished(part, name, unit):
        return gone
    base = part.base.get(name, 1.0) or 1.0
    ratios, at = np.abs(weights[known]) / abs(base), steps[known]
    if len(at) < 2:
        return f"`{part.title(name)}` has the weight {weights[known][0]:.3g}; only one step was recorded."
    end = float(np.median(ratios[-_tail(ratios) :]))
    if end <= 0:
        return f"`{part.title(name)}` is switched off at the end: its weight is 0."
    if 1 / MOVED < end < MOVED:
        last, low, high = (f"{ratio * base:.3g}" for ratio in (end, ratios.min(), ratios.max()))
        if low == high:
            return f"`{part.title(name)}` kept its weight of {last}."
        return f"`{part.title(name)}` kept nearly the same weight: {last} at the end, always between {low} and {high}."
    moved = np.log(np.maximum(ratios, 1e-30)) / np.log(end)
    when = int(at[int(np.argmax(moved >= 0.9))])
    way, factor = ("down", 1 / end) if end < 1 else ("up", end)
    reason = _reason(part, unit, steps <= when, way)
    return f"`{part.title(name)}` was scaled {way} {_times(factor)} by step {when}{reason}."


def about_number(name: str, values: Array) -> str:
    """One sentence on a learned number of a loss: where it began, where it ended, and where it was on the way."""
    known = _finite(values)
    if len(known) < 2:
        return ""
    first, last = float(known[0]), float(np.median(known[-_tail(known) :]))
    low, high = f"{known.min():.3g}", f"{known.max():.3g}"
    way = "rose" if last > first else "fell"
    settled = abs(last - float(np.median(known[len(known) // 2 :]))) <= CONSTANT * max(float(np.ptp(known)), 1e-12)
    end = "where it settled" if settled else "and was still moving"
    return f"`{name}` was learned: it {way} from {first:.3g} to {last:.3g}, {end}, and was between {low} and {high}."


def vanished(part: PlayerRecord, name: str, unit: str) -> str:
    """A sentence if the loss's gradient is 0, or almost 0 at the end."""
    norms = _finite(part.grad_norms.get(unit))
    if len(norms) < 10:
        return ""
    first, last = float(np.median(norms[: _tail(norms)])), float(np.median(norms[-_tail(norms) :]))
    if first == 0 == last:
        return f"The gradient of `{part.title(name)}` is 0 in all measured steps: it does not train the shared layers."
    if last > VANISHED * first:
        return ""
    return f"The gradient of `{part.title(name)}` has vanished: its norm fell from {first:.3g} to {last:.3g}."


def by_values(part: PlayerRecord) -> list[str]:
    """A sentence if a weighting that compares gradients where there is an anchor found none."""
    if not part.measures or any(len(_finite(norms)) for norms in part.grad_norms.values()):
        return []
    return ["There was no anchor to compare gradients at: the weights follow the values of the losses alone."]


def conflicts(part: PlayerRecord) -> list[str]:
    """The pairs of losses whose gradients had a cosine below 0, the most frequent conflict first."""
    shares = {pair: conflict_share(cosines) for pair, cosines in part.cosines.items()}
    often = sorted(((s, pair) for pair, s in shares.items() if s >= CONFLICT), reverse=True)
    said = []
    for share, (a, b) in often[:3]:
        mean = float(np.mean(_finite(part.cosines[a, b])))
        weakly = ", but only weakly: the mean cosine is" if mean > -0.1 else "; the mean cosine is"
        names = f"`{part.title(a)}` and `{part.title(b)}`"
        said.append(f"{names} conflicted (cosine below 0) in {share:.0%} of the measured steps{weakly} {mean:.2g}.")
    if len(often) > 3:
        said.append(f"{len(often) - 3} further pairs conflicted in at least {CONFLICT:.0%} of the measured steps.")
    if shares and not often:
        most = max(CONFLICT, max(shares.values()))
        said.append(f"No two losses conflicted in more than {most:.0%} of the measured steps.")
    return said


def conflict_share(cosines: Array) -> float:
    """The share of the measured steps with a cosine below 0."""
    known = _finite(cosines)
    return float((known < 0).mean()) if len(known) else 0.0


def constant(part: PlayerRecord) -> list[str]:
    """A sentence if the weights are constant in the second half of the record: fixed ones would do."""
    halves = [_finite(x)[len(_finite(x)) // 2 :] for x in part.weights.values()]
    if len(part.losses) < 2 or any(len(half) < 5 for half in halves):
        return []
    off = max(float(np.abs(half / half.mean() - 1).max()) if half.mean() else 0.0 for half in halves)
    if off > CONSTANT:
        return []
    if all(np.ptp(_finite(x)) <= 1e-6 * abs(_finite(x)).max() for x in part.weights.values()):
        return ["The weights never changed."]
    fixed = ",".join(f"{name}:{half.mean():.3g}" for name, half in zip(part.weights, halves, strict=True))
    return [
        f"In the second half of the run each weight stays within {max(off, 0.001):.1%} of its mean: fixed weights "
        f"would do as well (weights {{{fixed}}})."
    ]


def oscillation(part: PlayerRecord) -> list[str]:
    """A sentence if the total goes up and down in the second half by more than the noise of batches."""
    total = _finite(part.total)
    second = total[len(total) // 2 :]
    if len(second) < 40 or np.median(np.abs(second)) == 0:
        return []
    width = max(3, len(second) // 40)
    smooth = np.convolve(second, np.ones(width) / width, "valid")
    noise = float(np.std(np.diff(second))) / np.sqrt(2 * width)
    turns = swings(smooth, max(0.2 * float(np.median(np.abs(second))), 5 * noise))
    if turns < 4:
        return []
    return [
        f"The total oscillates: in the second half it turned {turns} times, each time by a fifth of its size or more."
    ]


def swings(values: Array, size: float) -> int:
    """How often ``values`` change direction; moves smaller than ``size`` do not count."""
    turns, way = 0, 0
    low = high = float(values[0])
    for value in values.tolist():
        low, high = min(low, value), max(high, value)
        if way <= 0 and value - low >= size:
            turns, way, high = turns + (way < 0), 1, value
        elif way >= 0 and high - value >= size:
            turns, way, low = turns + (way > 0), -1, value
    return turns


def scale(part: PlayerRecord) -> list[str]:
    """A sentence if the weights' sum is far from that of equal weights; with SGD it scales the learning rate."""
    sums = _finite(np.sum(np.stack(list(part.weights.values())), 0)) if part.weights else np.empty(0)
    fair = sum(part.base.get(name, 1.0) for name in part.losses)
    if len(sums) < 2 or not fair:
        return []
    factor = float(np.median(sums[-_tail(sums) :])) / fair
    if 0.5 <= factor <= 2 or factor <= 0:
        return []
    return [
        f"At the end the weights sum to {factor:.2g} times the sum of equal weights; with SGD this scales the learning "
        "rate."
    ]


def overfitting(record: RunRecord) -> list[str]:
    """The losses that rose on validation data while they still fell in training."""
    said = []
    for title, train in record.losses.items():
        held = _finite(record.curves.get(f"val_loss/{title}"))
        known = _finite(train)
        if len(held) < 4 or len(known) < 4 or held.min() <= 0:
            continue
        best, rise = int(held.argmin()), float(held[-1] / held.min() - 1)
        fell = np.mean(known[-_tail(known) :]) < np.mean(known[len(known) // 2 :])
        if rise > 0.05 and best < len(held) - 2 and fell:
            said.append(
                f"`{title}` overfits: on validation data it was best after {best + 1} of {len(held)} validations and "
                f"is {rise:.0%} higher at the end, while it still fell in training."
            )
    return said


def gaps(record: RunRecord) -> list[str]:
    """What the record lacks, and why."""
    said = []
    if skipped := record.summary.get("skipped_batches"):
        said.append(f"{skipped} batches were left out because a loss was not finite.")
    bad = [title for title, x in record.losses.items() if np.isinf(x).any()]
    if bad:
        said.append(f"{', '.join(f'`{title}`' for title in bad)} was infinite in some recorded steps.")
    if record.run.error:
        said.append(f"The run failed: {record.run.error}")
    elif not record.run.finished:
        said.append(f"The run did not finish: its record ends at step {int(record.steps[-1])}.")
    return said


def _reason(part: PlayerRecord, unit: str, until: NDArray[np.bool_], way: str) -> str:
    """Why a weight changed: the gradient's norm (or the value) up to that step, against the mean of all losses."""
    for kind, what, names in (("grad_norm", "gradient norm", part.units), ("loss_raw", "value", part.losses)):
        table: Mapping[str, Array] = part.of(kind, names)
        key = unit if kind == "grad_norm" else next((n for n in names if _unit(part, n) == unit), unit)
        if key not in table or len(table) < 2:
            continue
        everyone = _finite(np.concatenate([x[until] for x in table.values()]))
        mine = _finite(table[key][until])
        if not len(mine):
            continue
        mean, own = np.abs(everyone).mean(), np.abs(mine).mean()
        if not (mean > 0 and own > 0):
            continue
        agrees = own > mean if way == "down" else own < mean
        word = "because" if agrees and part.measures and kind == "grad_norm" else "while"
        return f" {word} its {what} was {_times(own / mean)} the mean of all losses"
    return ""


def _times(factor: float) -> str:
    return f"{factor:.0f}x" if factor >= 10 else f"{factor:.2g}x"


def _unit(part: PlayerRecord, name: str) -> str:
    return next((group for group, names in part.groups.items() if name in names), name)


def _finite(values: Array | None) -> Array:
    return np.empty(0) if values is None else values[np.isfinite(values)]


def _tail(values: Array) -> int:
    return max(1, round(TAIL * len(values)))

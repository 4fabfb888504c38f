"""Says in sentences what happened in a run; every number in them can be found in ``trajectory.csv``."""

from __future__ import annotations

import numpy as np

from autoloss.report.fates import about_losses, finite, tail
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.report.said import between, joined, names

CONSTANT = 0.05  # weights that stay this close to their mean in the second half of the record are constant
WEAK = -0.1  # a mean cosine above it is a weak conflict
CONFLICT = 0.1  # a pair that conflicts in fewer of the steps gets no sentence


def findings(record: RunRecord) -> list[str]:
    """All sentences about a run: what became of each loss, then what is to say of pairs and of all."""
    if not len(record.steps):
        return ["Nothing was recorded: there is no trajectory.csv, or it holds no step."]
    said: list[str] = []
    for part in record.parts.values():
        said += about_losses(part, record.steps)
        said += [
            f"The base weight of `{part.title(name)}` follows {text}; its weight holds it."
            for name, text in part.base_schedules.items()
            if isinstance(text, str)
        ]
        said += [sentence for name, values in part.numbers.items() if (sentence := about_number(name, values))]
        said += [*by_values(part), *conflicts(part), *constant(part), *oscillation(part), *scale(part)]
    return [*said, *overfitting(record), *gaps(record)]


def about_number(name: str, values: Array) -> str:
    """One sentence on a learned number of a loss: where it began, where it ended, and where it was on the way."""
    known = finite(values)
    if len(known) < 2:
        return ""
    if not np.ptp(known):
        return f"`{name}` was learned, and stayed at {known[0]:.3g}: no step showed what another number would change."
    first, last = float(known[0]), float(np.median(known[-tail(known) :]))
    low, high = f"{known.min():.3g}", f"{known.max():.3g}"
    way = "rose" if last > first else "fell"
    settled = abs(last - float(np.median(known[len(known) // 2 :]))) <= CONSTANT * max(float(np.ptp(known)), 1e-12)
    end = "where it settled" if settled else "and was still moving"
    return f"`{name}` was learned: it {way} from {first:.3g} to {last:.3g}, {end}, and was between {low} and {high}."


def by_values(part: PlayerRecord) -> list[str]:
    """A sentence if a weighting that compares gradients where there is an anchor found none."""
    if not part.measures or any(len(finite(norms)) for norms in part.grad_norms.values()):
        return []
    return ["There was no anchor to compare gradients at: the weights follow the values of the losses alone."]


def conflicts(part: PlayerRecord) -> list[str]:
    """The pairs of losses whose gradients had a cosine below 0, the most frequent conflict first."""
    shares = {pair: conflict_share(cosines) for pair, cosines in part.cosines.items()}
    often = sorted(((s, pair) for pair, s in shares.items() if s >= CONFLICT), reverse=True)
    said = []
    for weak in (False, True):
        means = [(s, (a, b), float(np.mean(finite(part.cosines[a, b])))) for s, (a, b) in often[:3]]
        alike = [found for found in means if (found[2] > WEAK) == weak]
        weakly = ", but only weakly" if weak else ""
        if len(alike) == 1:
            share, (a, b), mean = alike[0]
            end = f"{weakly}: the mean cosine is {mean:.2g}." if weak else f"; the mean cosine is {mean:.2g}."
            both = names([part.title(a), part.title(b)])
            said.append(f"{both} conflicted (cosine below 0) in {share:.0%} of the measured steps{end}")
        elif alike:
            each = [f"{names([part.title(a), part.title(b)])} in {s:.0%} ({mean:.2g})" for s, (a, b), mean in alike]
            said.append(
                f"{len(alike)} pairs conflicted (cosine below 0){weakly}: {joined(each)} of the measured steps (mean "
                "cosine)."
            )
    if len(often) > 3:
        said.append(f"{len(often) - 3} further pairs conflicted in at least {CONFLICT:.0%} of the measured steps.")
    if shares and not often:
        most = max(CONFLICT, max(shares.values()))
        said.append(f"No two losses conflicted in more than {most:.0%} of the measured steps.")
    return said


def conflict_share(cosines: Array) -> float:
    """The share of the measured steps with a cosine below 0."""
    known = finite(cosines)
    return float((known < 0).mean()) if len(known) else 0.0


def constant(part: PlayerRecord) -> list[str]:
    """A sentence if the weights are constant in the second half of the record: fixed ones would do."""
    halves = [finite(x)[len(finite(x)) // 2 :] for x in part.weights.values()]
    if len(part.losses) < 2 or any(len(half) < 5 for half in halves):
        return []
    off = max(float(np.abs(half / half.mean() - 1).max()) if half.mean() else 0.0 for half in halves)
    if off > CONSTANT:
        return []
    if all(np.ptp(finite(x)) <= 1e-6 * abs(finite(x)).max() for x in part.weights.values()):
        return ["The weights never changed."]
    fixed = ",".join(f"{name}:{half.mean():.3g}" for name, half in zip(part.weights, halves, strict=True))
    return [
        f"In the second half of the run each weight stays within {max(off, 0.001):.1%} of its mean: fixed weights "
        f"would do as well (weights {{{fixed}}})."
    ]


def oscillation(part: PlayerRecord) -> list[str]:
    """A sentence if the total goes up and down in the second half by more than the noise of batches."""
    total = finite(part.total)
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
    sums = finite(np.sum(np.stack(list(part.weights.values())), 0)) if part.weights else np.empty(0)
    fair = sum(part.base.get(name, 1.0) for name in part.losses)
    if len(sums) < 2 or not fair:
        return []
    factor = float(np.median(sums[-tail(sums) :])) / fair
    if 0.5 <= factor <= 2 or factor <= 0:
        return []
    return [
        f"At the end the weights sum to {factor:.2g} times the sum of equal weights; with SGD this scales the learning "
        "rate."
    ]


def overfitting(record: RunRecord) -> list[str]:
    """The losses that rose on validation data while they still fell in training."""
    found: list[tuple[str, int, int, float]] = []
    for title, train in record.losses.items():
        held = finite(record.curves.get(f"val_loss/{title}"))
        known = finite(train)
        if len(held) < 4 or len(known) < 4 or held.min() <= 0:
            continue
        best, rise = int(held.argmin()), float(held[-1] / held.min() - 1)
        fell = np.mean(known[-tail(known) :]) < np.mean(known[len(known) // 2 :])
        if rise > 0.05 and best < len(held) - 2 and fell:
            found.append((title, best + 1, len(held), rise))
    if not found:
        return []
    titles, bests, counts, rises = zip(*found, strict=True)
    after, higher = between(bests, ".0f"), between(rises, ".0%")
    if len(found) == 1:
        return [
            f"{names(titles)} overfits: on validation data it was best after {after} of {counts[0]} validations and is "
            f"{higher} higher at the end, while it still fell in training."
        ]
    return [
        f"{names(titles)} overfit: on validation data they were best after {after} of {max(counts)} validations and "
        f"are {higher} higher at the end, while they still fell in training."
    ]


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

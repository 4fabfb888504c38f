"""Describes a problem from a few short runs with equal weights, and says what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from autoloss.core.io.text_table import number
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.explain import conflict_share
from autoloss.report.record import RunRecord

FAR = 5.0  # losses or gradients that differ by a larger factor have different scales
DEAD = 1e-3  # of the largest gradient
DOMINATED = 0.8
CONFLICT = 0.3
ALIKE = 1.5  # gradients whose lengths differ by a smaller factor are much the same
WIDEST = 100.0  # as autoscale's
TAILS = 10.0  # kurtosis; the normal distribution's is 3, the logistic one's 4.2
RARE = 0.1


@dataclass(frozen=True, slots=True)
class Trait:
    """One loss, as means over the runs: its value, its gradient, and how often it conflicts."""

    name: str
    first: float
    last: float
    norm: float
    share: float
    conflicts: float
    cosine: float


def traits(records: Sequence[RunRecord]) -> list[Trait]:
    """The traits of each unit, over all ``records``; NaN where nothing was measured."""
    found = []
    for player, part in records[0].parts.items():
        parts = [record.parts[player] for record in records]
        for unit in part.units:
            members = part.groups.get(unit, (unit,))
            values = [np.sum([p.raw[m] for m in members if m in p.raw], 0) for p in parts]
            pairs = [x for p in parts for pair, x in p.cosines.items() if unit in pair]
            found.append(
                Trait(
                    part.title(unit),
                    _mean(np.concatenate([v[: max(1, len(v) // 10)] for v in values])),
                    _mean(np.concatenate([v[-max(1, len(v) // 10) :] for v in values])),
                    _mean(np.concatenate([p.grad_norms.get(unit, np.array([np.nan])) for p in parts])),
                    _mean(np.concatenate([p.grad_shares.get(unit, np.array([np.nan])) for p in parts])),
                    max((conflict_share(x) for x in pairs), default=math.nan),
                    min((_mean(x) for x in pairs), default=math.nan),
                )
            )
    return found


def weighting_advice(found: Sequence[Trait]) -> list[str]:
    """Which weightings to try, with the reason; one sentence that equal weights will do if there is no reason."""
    said = []
    norms = {t.name: t.norm for t in found if t.norm == t.norm}
    dead = [name for name, norm in norms.items() if norm <= DEAD * max(norms.values())]
    for name in dead:
        said.append(
            f"`{name}` is dead: its gradient at the shared layers is {norms[name] / max(norms.values()):.1e} of the "
            "largest. Check this loss before you weight it; if it is meant to be so small, name it in unbalanced=."
        )
    alive = {name: norm for name, norm in norms.items() if name not in dead}
    apart = max(alive.values()) / min(alive.values()) if len(alive) > 1 else 1.0
    values = {t.name: abs(t.first) for t in found if t.first == t.first and t.first != 0}
    unlike = max(values.values()) / min(values.values()) if len(values) > 1 else 1.0
    strong = [t for t in found if t.share > DOMINATED]
    if strong and len(found) > 1:
        said.append(
            f"`{strong[0].name}` dominates: it has {strong[0].share:.0%} of the gradient. Try weighting=gradnorm, "
            "which makes gradient norms more equal, or weighting=imtl_g, which gives each loss the same influence."
        )
    elif apart > FAR:
        said.append(
            f"Gradient norms differ {apart:.0f}x. Try weighting=gradnorm, or weighting=scale_invariant (the logarithms "
            "of the losses; it measures no gradients)."
        )
    if unlike > FAR:
        large, small = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        said.append(
            f"`{large}` is {unlike:.0f}x the size of `{small}` at the start. Try weighting=uncertainty, which follows "
            "the scale of each loss and measures no gradients."
        )
    fights = [t for t in found if t.conflicts > CONFLICT and t.cosine < -0.1]
    if fights:
        worst = min(fights, key=lambda t: t.cosine)
        said.append(
            f"`{worst.name}` conflicts with another loss in {worst.conflicts:.0%} of the steps (mean cosine "
            f"{number(worst.cosine, '.2f')}). Try weighting=cagrad, nash_mtl or pcgrad, which reduce such conflicts."
        )
    alike = "Scales, gradient norms and directions of the losses are similar: equal weights are a good choice."
    return said or [alike]


def fixed_advice(records: Sequence[RunRecord]) -> list[str]:
    """Fixed weights that make the gradients equally long, as ``autoscale`` finds them: c over the geometric mean norm.

    Over all ``records``, the weights sum to the number of losses, and none is more than :data:`WIDEST` times another.
    Nothing is said where gradients have much the same length, were not measured, or belong to several players.
    """
    if len(records[0].parts) > 1:
        return []
    parts = [part for record in records for part in record.parts.values()]
    norms = {unit: np.concatenate([p.grad_norms.get(unit, np.array([])) for p in parts]) for unit in parts[0].units}
    heights = {unit: float(np.log(of[of > 0]).mean()) for unit, of in norms.items() if (of > 0).any()}
    if len(heights) < 2 or max(heights.values()) - min(heights.values()) < math.log(ALIKE):
        return []
    found = {unit: min(math.exp(max(heights.values()) - height), WIDEST) for unit, height in heights.items()}
    scale = len(found) / sum(found.values())
    weights = ",".join(f"{unit}:{weight * scale:.3g}" for unit, weight in found.items())
    return [
        f"Fixed weights that make the gradients equally long are weighting=fixed 'weighting.weights={{{weights}}}'; "
        "weighting=autoscale measures such weights in its first steps."
    ]


def loss_advice(targets: Mapping[str, Mapping[str, Any]], losses: Mapping[str, str]) -> list[str]:
    """Which losses to try instead, from statistics of the targets."""
    said = []
    for name, facts in targets.items():
        chosen, kind = losses.get(name), facts["kind"]
        if kind == "numbers" and facts["kurtosis"] > TAILS and chosen in ("mse", None):
            said.append(
                f"`{name}` has heavy tails: its targets have a kurtosis of {facts['kurtosis']:.0f} (3 is normal), and "
                f"mse squares large errors. Try losses.{name}=huber or losses.{name}=adaptive_robust."
            )
        if kind == "numbers" and facts["positive"] and facts["spread"] > 100:
            said.append(
                f"`{name}` spans {facts['spread']:.0f}x its median, all above 0: large targets dominate the loss. Try "
                f"losses.{name}=log_loss or losses.{name}=relative_l2, or predict its logarithm."
            )
        if kind == "classes" and facts["classes"] > 1 and facts["rarest"] < RARE * facts["commonest"]:
            said.append(
                f"`{name}` has rare classes: the rarest is {facts['rarest']:.2%} of its targets, the commonest "
                f"{facts['commonest']:.0%}. Try losses.{name}=focal."
            )
        if kind == "binary" and 0 < facts["rarest"] < RARE / 2:
            said.append(
                f"`{name}` is nearly always the same: {facts['rarest']:.2%} of its targets differ. Try "
                f"losses.{name}=focal or losses.{name}=dice."
            )
    return said


def worth(runs: Sequence[Mapping[str, Any]], ahead: Mapping[str, Any] | None) -> list[str]:
    """Whether a search is worth it: the gain of one look-ahead run, compared with the noise of seeds.

    Score is the mean relative improvement over the equal-weights runs' mean. Seeds that a paired comparison would need
    to show the gain: ``((1.96 + 0.84) sqrt(2) s / gain)^2`` for two independent runs with deviation s.
    """
    goals: Mapping[str, str] = runs[0].get("goals", {})
    if not goals or len(runs) < 2:
        return ["It takes metrics and several seeds to say whether a search is worth it."]
    reference = {name: fmean(run["metrics"][name] for run in runs) for name in goals}
    noise = stdev(relative_improvement(run["metrics"], reference, goals) for run in runs)
    said = [f"Seeds alone move the score by {noise:.3f} (standard deviation over {len(runs)} equal-weights runs)."]
    if ahead is None:
        return [*said, "The look-ahead run was not possible, so the expected gain is not known."]
    gain = relative_improvement(ahead["metrics"], relative_to(runs, ahead), goals)
    weights = ", ".join(f"{name} {weight:.2g}" for name, weight in ahead["final_weights"].items())
    by = number(gain, "+.3f")
    said.append(f"One run that learns its weights by looking ahead gained {by} over equal weights ({weights}).")
    chance = math.sqrt(2) * noise
    if gain <= chance:
        return [*said, "Two runs differ by that much by chance: by these runs a search is not worth it."]
    seeds = max(2, math.ceil((2.8 * chance / gain) ** 2))
    factor = f"{gain / chance:.1f}x" if chance else "far above"
    return [
        *said,
        f"That is {factor} the chance difference of two runs: a search is worth it; about {seeds} seeds would show it.",
    ]


def relative_to(runs: Sequence[Mapping[str, Any]], ahead: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of the equal-weights run with the look-ahead's seed, or the mean of all."""
    same = [run for run in runs if run.get("seed") == ahead.get("seed")] or list(runs)
    return {name: fmean(run["metrics"][name] for run in same) for name in runs[0]["metrics"]}


def _mean(values: Any) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan

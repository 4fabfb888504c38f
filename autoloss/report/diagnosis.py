"""What a few short runs with equal weights say about a problem, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np

from autoloss.core.metrics.score import relative_improvement
from autoloss.report.explain import conflict_share
from autoloss.report.record import RunRecord

FAR = 5.0  # losses or gradients that differ by more are of unlike scale
DEAD = 1e-3  # of the largest gradient
DOMINATED = 0.8
CONFLICT = 0.3
TAILS = 10.0  # kurtosis; the normal distribution's is 3, the logistic one's 4.2
RARE = 0.1


@dataclass(frozen=True, slots=True)
class Trait:
    """What was measured of one loss: its size, its gradient, and how often it conflicts, means over the runs."""

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
    """Which weightings to try, with the reason; a sentence that there is none, where nothing calls for one."""
    said = []
    norms = {t.name: t.norm for t in found if t.norm == t.norm}
    dead = [name for name, norm in norms.items() if norm <= DEAD * max(norms.values())]
    for name in dead:
        said.append(
            f"`{name}` is dead: its gradient at the shared layers is {norms[name] / max(norms.values()):.1e} of the "
            "largest. Look at that loss before weighting it; name it in unbalanced= if it is meant to be so small."
        )
    alive = {name: norm for name, norm in norms.items() if name not in dead}
    apart = max(alive.values()) / min(alive.values()) if len(alive) > 1 else 1.0
    values = {t.name: abs(t.first) for t in found if t.first == t.first and t.first != 0}
    unlike = max(values.values()) / min(values.values()) if len(values) > 1 else 1.0
    strong = [t for t in found if t.share > DOMINATED]
    if strong and len(found) > 1:
        said.append(
            f"`{strong[0].name}` dominates: it has {strong[0].share:.0%} of the gradient. Try weighting=gradnorm, "
            "which pulls gradient norms together, or weighting=imtl_g, which makes the losses pull alike."
        )
    elif apart > FAR:
        said.append(
            f"Gradient norms differ {apart:.0f}x. Try weighting=gradnorm or weighting=scale_invariant (the logarithms "
            "of the losses, without any measuring)."
        )
    if unlike > FAR:
        large, small = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
        said.append(
            f"`{large}` is {unlike:.0f}x the size of `{small}` at the start. Try weighting=uncertainty, which follows "
            "the scale of each loss and measures nothing."
        )
    fights = [t for t in found if t.conflicts > CONFLICT and t.cosine < -0.1]
    if fights:
        worst = min(fights, key=lambda t: t.cosine)
        said.append(
            f"`{worst.name}` conflicts with another loss in {worst.conflicts:.0%} of the steps (mean cosine "
            f"{worst.cosine:.2f}). Try weighting=cagrad, nash_mtl or pcgrad, which give way to each other."
        )
    return said or ["Scales, gradients and directions agree: equal weights are a good choice, and hard to beat."]


def loss_advice(targets: Mapping[str, Mapping[str, Any]], losses: Mapping[str, str]) -> list[str]:
    """Which losses to try instead, by what the targets are like."""
    said = []
    for name, facts in targets.items():
        chosen, kind = losses.get(name), facts["kind"]
        if kind == "numbers" and facts["kurtosis"] > TAILS and chosen in ("mse", None):
            said.append(
                f"`{name}` has heavy tails: its targets have a kurtosis of {facts['kurtosis']:.0f} (3 is normal), and "
                f"mse squares what lies far out. Try losses.{name}=huber or losses.{name}=adaptive_robust."
            )
        if kind == "numbers" and facts["positive"] and facts["spread"] > 100:
            said.append(
                f"`{name}` spans {facts['spread']:.0f}x its median, all above 0: large targets drown small ones. Try "
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
    """Whether a search is worth it: what one look-ahead run gained, against the noise of seeds.

    Score is the mean relative improvement over the equal-weights runs' mean. Seeds that a paired comparison would need
    to show the gain: ``((1.96 + 0.84) sqrt(2) s / gain)^2`` for two independent runs with deviation s.
    """
    goals: Mapping[str, str] = runs[0].get("goals", {})
    if not goals or len(runs) < 2:
        return ["Without metrics and several seeds nobody can say whether a search is worth it."]
    reference = {name: fmean(run["metrics"][name] for run in runs) for name in goals}
    noise = stdev(relative_improvement(run["metrics"], reference, goals) for run in runs)
    said = [f"Seeds alone move the score by {noise:.3f} (standard deviation over {len(runs)} equal-weights runs)."]
    if ahead is None:
        return [*said, "The look-ahead could not be run, so the gain to expect is not known."]
    gain = relative_improvement(ahead["metrics"], relative_to(runs, ahead), goals)
    weights = ", ".join(f"{name} {weight:.2g}" for name, weight in ahead["final_weights"].items())
    said.append(f"One run that learns its weights by looking ahead gained {gain:+.3f} over equal weights ({weights}).")
    chance = math.sqrt(2) * noise
    if gain <= chance:
        return [*said, "Two runs differ by that much by chance: on this evidence a search is not worth it."]
    seeds = max(2, math.ceil((2.8 * chance / gain) ** 2))
    factor = f"{gain / chance:.1f}x" if chance else "far above"
    return [
        *said,
        f"That is {factor} what two runs differ by: a search is worth it; some {seeds} seeds would show it.",
    ]


def relative_to(runs: Sequence[Mapping[str, Any]], ahead: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of the equal-weights run with the look-ahead's seed, or the mean of all."""
    same = [run for run in runs if run.get("seed") == ahead.get("seed")] or list(runs)
    return {name: fmean(run["metrics"][name] for run in same) for name in runs[0]["metrics"]}


def _mean(values: Any) -> float:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan

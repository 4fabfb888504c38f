"""Whether a weighting that learns from held-out data can do so in a run."""

from __future__ import annotations

from collections.abc import Mapping

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.need import HELD_OUT_DATA, SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.weighting import Weighting
from autoloss.training.step.loss_numbers import learned_numbers


def learner(
    weighting: Weighting, sample_weighting: SampleWeighting | None, losses: Mapping[str, Loss] | None = None
) -> str:
    """The component that learns from held-out data, in words; empty if none does."""
    if weighting.needs & HELD_OUT_DATA:
        return f"Weighting {weighting.title()!r}"
    if sample_weighting is not None and SampleNeed.ALIGNMENT in sample_weighting.needs:
        return f"Sample weighting {sample_weighting.title()!r}"
    names = learned_numbers(losses or {})
    return f"Learned number {names[0]}" if names else ""


def check_lookahead(who: str, forked: bool, held_out: bool) -> None:
    """Raise :class:`ConfigError` if the component ``who`` learns from held-out data and cannot do so here.

    ``forked`` says that it learns from derivatives with respect to weights, and that gradients meet in a fork.
    """
    if not who:
        return
    must = f"{who} needs"
    require(held_out, f"{must} held-out data", "there is none", "Keep some: held_out.share=0.1.")
    found = "gradients that meet in a fork leave them out"
    require(not forked, f"{must} weights that reach the heads", found, "Set anchor=features.")

"""Whether training says what schedules are functions of."""

from __future__ import annotations

import warnings

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting

PATIENCE = 500  # steps without an epoch, after which somebody has forgotten to set it


def check_clock(part: Weighting | SampleWeighting, clock: Clock) -> None:
    """Raise if ``part`` follows progress and the length of training is not known; warn if no epoch was ever set."""
    missing = part.follows & clock.unknown
    if not missing:
        return
    kind = "Weighting" if isinstance(part, Weighting) else "Sample weighting"
    if "progress" in missing:
        raise unknown_length(f"{kind} {part.title()!r}")
    if clock.step == PATIENCE and not clock.epoch:
        window = " Or give it a window of steps: weighting.window." if hasattr(part, "window") else ""
        warnings.warn(
            f"{kind} {part.title()!r} follows epochs, so the loop must say which one it is in, but no epoch was set in "
            f"{PATIENCE} steps. Call balancer.set_epoch(epoch) at the beginning of each.{window}",
            stacklevel=2,
        )


def check_base(terms: Terms, clock: Clock) -> None:
    """Raise if a base weight follows progress and the length of training is not known."""
    if terms.base_schedules and "progress" in clock.unknown:
        found = ", ".join(f"{name}={text}" for name, text in terms.base_schedules.items())
        raise unknown_length(f"Base weight {found}")


def unknown_length(what: str) -> ConfigError:
    """The error for ``what`` follows progress in a training without a known length."""
    return ConfigError(
        f"{what} follows progress, so the length of training must be known, but it is not. "
        "Write Balancer(..., total_steps=10000); a Trainer needs max_steps, or max_epochs and a loader with a length."
    )

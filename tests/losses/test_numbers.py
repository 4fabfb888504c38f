"""Every number of a built-in loss and penalty can have a schedule, and a schedule does what building anew does."""

from typing import Any

import pytest
import torch

from autoloss.core.gan.adversarial_loss import InputPenalty
from autoloss.core.loss import Loss
from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import ORIGIN, registry
from autoloss.core.schedules.progressive import build
from autoloss.core.space import Interval
from autoloss.testing.samples import SAMPLES

NEEDS = {"combined": {"losses": ["cross_entropy", "focal"]}, "perceptual": {"network": "torch.nn:Identity"}}
NUMBERS = [
    (kind, one.name, key)
    for kind in ("loss", "penalty")
    for one in registry.listings[kind]
    if one.origin == ORIGIN
    for key, value in defaults(one).items()
    if isinstance(value, (int, float)) and not isinstance(value, bool)
]


def other(kind: str, name: str, key: str) -> float:
    """A value of the parameter that is not its default."""
    space = registry.load(kind, name).search_space.get(key)
    if isinstance(space, Interval):
        return space.low * (space.high / space.low) ** 0.3 if space.log else (2 * space.low + space.high) / 3
    default = defaults(registry.find(kind, name))[key]
    return 2 * default if isinstance(default, int) else 0.7 * default if default > 0 else 0.7


def answer(made: Any) -> torch.Tensor | None:
    if isinstance(made, InputPenalty):
        return None
    torch.manual_seed(0)
    if not isinstance(made, Loss):
        return made([torch.randn(4, 3), torch.randn(2, 5)])
    return made(*SAMPLES[made.takes[0]][0](6))


@pytest.mark.parametrize(("kind", "name", "key"), NUMBERS)
def test_a_schedule_does_what_building_anew_does(kind: str, name: str, key: str) -> None:
    value, needs = other(kind, name, key), NEEDS.get(name, {})
    before = registry.build(kind, name, **needs)
    anew = registry.build(kind, name, **{**needs, key: value})
    followed = build(kind, {"name": name, **needs, key: f"step({value},{value})"})
    followed.follow(1.0)
    assert getattr(followed, key) == pytest.approx(value)
    plain = getattr(before, key)
    setattr(before, key, value)
    changed = answer(before)
    if changed is not None:
        torch.testing.assert_close(changed, answer(anew))
        torch.testing.assert_close(answer(followed), answer(anew))
    assert plain != value

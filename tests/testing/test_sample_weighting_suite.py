"""The suite against sample weightings that are broken on purpose: each must fail what it breaks."""

import inspect
from functools import partial

import pytest
import torch

from autoloss import SampleNeed, SampleWeighting
from autoloss.testing import SampleWeightingSuite

CHECKS = sorted(n for n, _ in inspect.getmembers(SampleWeightingSuite, inspect.isfunction) if n.startswith("test_"))


class Good(SampleWeighting):
    """Falls with the loss over its moving mean, by class, and remembers how often each sample was seen."""

    needs = SampleNeed.LOSSES | SampleNeed.INDEX
    claims = frozenset({"non_increasing", "at_most_one"})

    def allocate(self, size):
        self.add_state("mean", torch.ones(()))
        self.add_state("times", torch.zeros(size))

    def forward(self, samples):
        return 1 / (1 + samples.losses.clamp(min=0) / self.mean.clamp(min=1e-6))

    def update(self, samples):
        self.mean.copy_(self.mean.lerp(samples.mean(samples.losses.abs()), 0.1).where(samples.present.any(), self.mean))
        self.times.index_add_(0, samples.index, samples.present.float())


class Scalar(Good):
    def forward(self, samples):
        return super().forward(samples).mean()


class Negative(Good):
    def forward(self, samples):
        return super().forward(samples) - 0.5


class DividesByZero(Good):
    claims = frozenset()

    def forward(self, samples):
        return self.mean / samples.losses.abs()


class TakesTheLog(Good):
    def forward(self, samples):
        return 1 / (1 + samples.losses.clamp(min=1e-30).log().clamp(min=0)) + (samples.losses < 0) * torch.nan


class NoSample(Good):
    claims = frozenset()

    def forward(self, samples):
        return super().forward(samples) / samples.present.sum() * len(samples.losses)


class CountsMasked(Good):
    def forward(self, samples):
        return super().forward(samples) / (1 + samples.losses.numel() / 100)


class SeesMasked(Good):
    def update(self, samples):
        self.mean.copy_(samples.losses.abs().mean().clamp(min=0.1))
        self.times.index_add_(0, samples.index, samples.present.float())


class ByPlace(Good):
    claims = frozenset()

    def forward(self, samples):
        return torch.linspace(0, 1, len(samples.losses)) * super().forward(samples)


class Writes(Good):
    def update(self, samples):
        super().update(samples)
        samples.losses.mul_(2)


class AsksForLess(Good):
    needs = SampleNeed.INDEX | SampleNeed.LOSSES

    def forward(self, samples):
        return super().forward(samples) * (samples.labels >= 0)


class WritesInForward(Good):
    def forward(self, samples):
        self.mean.add_(0.1)
        return super().forward(samples)


class Forgets(Good):
    calls = 0

    def forward(self, samples):
        return super().forward(samples) / (1 + self.calls)

    def update(self, samples):
        super().update(samples)
        self.calls += 1


class HasParameters(Good):
    def allocate(self, size):
        super().allocate(size)
        self.weight = torch.nn.Parameter(torch.ones(()))


class IsDouble(Good):
    def allocate(self, size):
        super().allocate(size)
        self.add_state("more", torch.zeros((), dtype=torch.float64))


class FollowsCasts(Good):
    def _apply(self, fn, recurse=True):
        return torch.nn.Module._apply(self, fn, recurse)


class RaisesAtNan(Good):
    def forward(self, samples):
        if samples.losses.device.type == "cpu" and not samples.losses.isfinite().all():
            raise ValueError("not finite")
        return super().forward(samples)


class Waits(Good):
    def forward(self, samples):
        return super().forward(samples) * float(self.mean > -1)


class ClaimsNonsense(Good):
    claims = frozenset({"always_right"})


class ClaimsRising(Good):
    claims = frozenset({"non_decreasing"})


class ClaimsFalling(Good):
    def forward(self, samples):
        return 1 - super().forward(samples)


class ClaimsAtMostOne(Good):
    def forward(self, samples):
        return 2 * super().forward(samples)


class ClaimsMeanOne(Good):
    claims = frozenset({"mean_one"})


class ClaimsScale(Good):
    claims = frozenset({"scale_invariant"})


class ByCalls(Good):
    """Its answer in training is not that of `forward` on what training gives it."""

    claims = frozenset()

    def forward(self, samples):
        return super().forward(samples) * (1 if samples.term == "a" and not torch.is_grad_enabled() else 2)


class FollowsTheDefaultDtype(Good):
    def __init__(self):
        super().__init__()
        self.factor = 1 if torch.get_default_dtype() is torch.float32 else 2

    def forward(self, samples):
        return super().forward(samples) / self.factor


BROKEN = {
    FollowsTheDefaultDtype: "precision_around_it_changes_nothing",
    Scalar: "gives_one_weight",
    Negative: "gives_one_weight",
    DividesByZero: "finite_at_losses_of_zero",
    TakesTheLog: "finite_at_losses_of_zero",
    NoSample: "takes_equal_losses",
    CountsMasked: "a_masked_sample_says_nothing",
    SeesMasked: "a_masked_sample_says_nothing",
    ByPlace: "order_of_the_batch",
    Writes: "only_read",
    AsksForLess: "needs_are_enough",
    WritesInForward: "forward_writes_nothing",
    Forgets: "survives_a_checkpoint",
    HasParameters: "float32_buffers",
    IsDouble: "float32_buffers",
    FollowsCasts: "float32_buffers",
    RaisesAtNan: "not_finite_moves_no_state",
    Waits: "waits_for_no_device",
    ClaimsNonsense: "claims_are_known",
    ClaimsRising: "claim_order",
    ClaimsFalling: "claim_order",
    ClaimsAtMostOne: "claim_at_most_one",
    ClaimsMeanOne: "claim_mean_one",
    ClaimsScale: "claim_scale_invariant",
    ByCalls: "total_has_the_weights",
}


def failing(rule):
    suite = type("Suite", (SampleWeightingSuite,), {"sample_weighting": staticmethod(rule)})()
    failed = set()
    for name in CHECKS:
        check = getattr(suite, name)
        orders = ["non_increasing", "non_decreasing"] if "claim_order" in name else [None]
        for order in orders:
            try:
                (check if order is None else partial(check, order))()
            except pytest.skip.Exception:
                continue
            except Exception:
                failed.add(name)
    return failed


def test_a_good_one_passes():
    assert failing(Good) == set()


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_a_broken_one_fails_what_it_breaks(rule):
    failed = failing(rule)
    assert any(BROKEN[rule] in name for name in failed), failed


def test_every_check_can_fail():
    unproven = [name for name in CHECKS if not any(part in name for part in BROKEN.values())]
    assert unproven == ["test_is_finite_at_every_scale"]
    assert "test_is_finite_at_every_scale" in failing(type("Overflows", (Good,), {"forward": _overflows}))


def _overflows(self, samples):
    return samples.losses.clamp(min=0) * 1e30 * samples.losses.clamp(min=0)


def test_the_method_must_be_written():
    with pytest.raises(NotImplementedError, match=r"sample_weighting\(\)"):
        SampleWeightingSuite().bound()

"""Checks of the properties that a weighting claims."""

from __future__ import annotations

from itertools import permutations

import pytest
from torch import Tensor

from autoloss.core.weighting import CLAIMS
from autoloss.testing import streams
from autoloss.testing.subject import Subject, follow

# Powers of 2 scale without rounding: no sign that a method depends on may change by rounding.
SMALL, LARGE = 2.0**-20, 2.0**20


class ClaimChecks(Subject):
    """Each claim over random signals and over a trajectory: the claim is about the whole stream.

    A permuted or scaled stream is given to a fresh copy, which learns from it all the way.
    """

    def test_claims_are_known(self) -> None:
        unknown = sorted(set(self.bound().claims) - CLAIMS.keys())
        assert not unknown, f"A claim must be one of {', '.join(CLAIMS)}, but {', '.join(unknown)} is claimed."

    def test_claim_sums_to_count(self) -> None:
        self._claims("sums_to_count")
        for seed in range(3):
            for losses in ([], [0], [len(self.names) - 1]):
                signals = [streams.absent(s, losses) if s.step % 3 == 2 else s for s in self.stream(seed=seed)]
                for measured, weights in zip(signals, follow(self.bound(), signals), strict=True):
                    total, count = float(weights[measured.present].sum()), int(measured.present.sum())
                    assert abs(total - count) <= self.tolerance * max(count, 1), (
                        f"{_claim('sums_to_count')}, but at step {measured.step} those of {count} sum to {total:g}."
                    )

    def test_claim_permutation_equivariant(self) -> None:
        self._claims("permutation_equivariant")
        for seed in range(2):
            weights = follow(self.bound(), self.stream(seed=seed))
            for order in list(permutations(range(len(self.names))))[1:6]:
                names = [self.names[i] for i in order]
                other = follow(self.bound(names), [streams.permuted(s, order) for s in self.stream(seed=seed)])
                self._agree("permutation_equivariant", [w[list(order)] for w in weights], other, f"in order {names}")

    def test_claim_loss_scale_invariant(self) -> None:
        self._claims("loss_scale_invariant")
        size = len(self.names)
        for factors in [self.factors(by, [i]) for i in range(size) for by in (SMALL, LARGE)]:
            weights, other = self._both(factors)
            # Multiplied by the factors before they are compared, so that all have one scale.
            found = [w * w.new_tensor(factors) for w in other]
            self._agree("loss_scale_invariant", weights, found, f"of losses times {factors}, times that")

    def test_claim_common_scale_invariant(self) -> None:
        self._claims("common_scale_invariant")
        for by in (SMALL, LARGE):
            weights, other = (list(map(_direction, ws)) for ws in self._both([by] * len(self.names)))
            self._agree("common_scale_invariant", weights, other, f"of losses times {by:g}, up to a factor")

    def test_claim_non_conflicting(self) -> None:
        self._claims("non_conflicting")
        # With 4 items and width 1, K gradients share 4 directions and often conflict; with width 64 they hardly do.
        for seed, width in enumerate((1, 1, 1, 4, 64)):
            signals = self.stream(seed=seed, width=width)
            for measured, weights in zip(signals, follow(self.bound(), signals), strict=True):
                slopes, norms = measured.gram @ weights, measured.gram.diagonal().sqrt()
                relative = slopes / (norms * (weights.abs() * norms).sum()).clamp(min=1e-30)
                assert bool((relative >= -self.tolerance).all()), (
                    f"{_claim('non_conflicting')}, but at step {measured.step} it is {slopes.tolist()} for the weights "
                    f"{weights.tolist()} of the Gram matrix {measured.gram.tolist()}."
                )

    def _claims(self, claim: str) -> None:
        if claim not in self.bound().claims:
            pytest.skip("not claimed")

    def _both(self, factors: list[float]) -> tuple[list[Tensor], list[Tensor]]:
        return (
            follow(self.bound(), self.stream()),
            follow(self.bound(), [streams.scaled(s, factors) for s in self.stream()]),
        )

    def _agree(self, claim: str, expected: list[Tensor], found: list[Tensor], where: str) -> None:
        for step, (one, other) in enumerate(zip(expected, found, strict=True)):
            assert bool(((one - other).abs() <= self.tolerance * one.abs().max()).all()), (
                f"{_claim(claim)}, but at step {step} the weights {where} are {other.tolist()}, not {one.tolist()}."
            )


def _claim(name: str) -> str:
    return f"{name!r} is claimed: {CLAIMS[name]}"


def _direction(weights: Tensor) -> Tensor:
    return weights / weights.abs().max().clamp(min=1e-30)

"""The conformance suite of sample weightings."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import CLAIMS, SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.table import Entry
from autoloss.core.tensors.state import commit
from autoloss.testing import batches
from autoloss.testing.precisions import DTYPES, precision
from autoloss.testing.subject import changed, same, state_of
from autoloss.training.balancer import Balancer


class SampleWeightingSuite:
    """What training expects of a sample weighting, each as a test of its own.

    Subclass it in a test file::

        class TestMine(SampleWeightingSuite):
            def sample_weighting(self):
                return Mine(share=0.5)

    ``sample_weighting = Mine`` is enough where the defaults suit. A claim that is not made is skipped; the claims
    are those of :data:`autoloss.core.sample_weighting.CLAIMS`. ``tolerance`` is relative.
    """

    steps: int = 8
    tolerance: float = 1e-4
    device: str = "cpu"

    def sample_weighting(self) -> SampleWeighting:
        """A new sample weighting, not bound to data yet."""
        raise NotImplementedError("Override sample_weighting() to return a new instance of the one under test.")

    def bound(self) -> SampleWeighting:
        """A new one for training data of :data:`autoloss.testing.batches.SIZE` samples."""
        rule = self.sample_weighting()
        return rule.bind(batches.SIZE).to(self.device)

    def stream(self, seed: int = 0) -> list[Samples]:
        """New batches of a trajectory."""
        return batches.batches(self.steps, seed=seed, device=self.device)

    def test_gives_one_weight_for_each_sample(self) -> None:
        for weights, samples in zip(follow(self.bound(), self.stream()), self.stream(), strict=True):
            found = (list(weights.shape), weights.dtype)
            expected = [len(samples.losses)]
            assert found == (expected, torch.float32), (
                f"forward must give [B] float32 weights, but for B={expected[0]} it gave {found[0]} in {found[1]}."
            )
            assert bool((weights >= 0).all()), f"Weights must be at least 0, but they are {weights.tolist()}."

    def test_is_finite_at_every_scale(self) -> None:
        for by in (1e-10, 1e-5, 1e5, 1e10):
            _expect_finite(follow(self.bound(), [batches.scaled(s, by) for s in self.stream()]), f"for losses x {by:g}")
            jumping = [batches.scaled(s, by) if s.step in (3, 4) else s for s in self.stream()]
            _expect_finite(follow(self.bound(), jumping), f"when losses jump by {by:g} at step 3 and back at 5")

    def test_is_finite_at_losses_of_zero_and_below(self) -> None:
        for by, what in ((0.0, "exactly 0"), (-1.0, "negative")):
            for when in ({0}, {3}, set(range(self.steps))):
                stream = [batches.scaled(s, by) if s.step in when else s for s in self.stream()]
                _expect_finite(follow(self.bound(), stream), f"where losses are {what} at steps {sorted(when)}")

    def test_takes_equal_losses_one_sample_and_none(self) -> None:
        first = torch.arange(1, device=self.device)
        cases = {
            "equal losses": [replace(s, losses=torch.ones_like(s.losses)) for s in self.stream()],
            "a batch of one": [batches.taken(s, first) for s in self.stream()],
            "a batch of which everything is masked": [batches.masked(s, range(len(s.losses))) for s in self.stream()],
        }
        for what, stream in cases.items():
            weights = follow(self.bound(), stream)
            _expect_finite(weights, f"for {what}")
            assert all(len(w) == len(s.losses) for w, s in zip(weights, stream, strict=True)), what
        after = follow(self.bound(), [*cases["a batch of which everything is masked"][:2], *self.stream()[2:]])
        _expect_finite(after, "after batches of which everything is masked")

    def test_a_masked_sample_says_nothing(self) -> None:
        """The loss in its place affects neither the other samples nor the state."""
        rows, others = [0, 5], [i for i in range(12) if i not in (0, 5)]
        one, other = self.bound(), self.bound()
        usual = follow(one, [batches.masked(s, rows) for s in self.stream()])
        strange = follow(other, [batches.masked(s, rows, 100.0) for s in self.stream()])
        alone = follow(self.bound(), [batches.taken(s, torch.tensor(others)) for s in self.stream()])
        for step, (a, b, c) in enumerate(zip(usual, strange, alone, strict=True)):
            assert same(a[others], b[others]), (
                f"The loss in the place of a masked sample must not matter, but at step {step} the others' weights are "
                f"{a[others].tolist()} for 0 and {b[others].tolist()} for 100. Mask with samples.present."
            )
            assert torch.allclose(a[others], c, rtol=1e-4), (
                f"A masked sample must not count, but at step {step} the others' weights are {a[others].tolist()} "
                f"beside it and {c.tolist()} without it. Count with samples.count."
            )
        moved = changed(state_of(one), state_of(other))
        assert not moved, f"A masked sample must not change the state, but it changed {', '.join(moved)}."

    def test_the_order_of_the_batch_does_not_matter(self) -> None:
        order = torch.randperm(12, generator=torch.Generator().manual_seed(1)).to(self.device)
        found = follow(self.bound(), [batches.taken(s, order) for s in self.stream()])
        for step, (one, other) in enumerate(zip(follow(self.bound(), self.stream()), found, strict=True)):
            assert torch.allclose(one[order], other, rtol=1e-4, atol=1e-6), (
                f"Samples in another order must get the same weights in that order, but at step {step} they are "
                f"{other.tolist()}, not {one[order].tolist()}."
            )

    def test_batches_are_only_read(self) -> None:
        rule = self.bound()
        for samples, untouched in zip(self.stream(), self.stream(), strict=True):
            rule.temperature(samples)
            rule(samples)
            learn(rule, samples)
            for name in ("losses", "present", "index", "labels", "slopes", "alignment"):
                assert same(getattr(samples, name), getattr(untouched, name)), (
                    f"A sample weighting must only read its samples, but samples.{name} changed at step {samples.step}."
                )

    def test_needs_are_enough(self) -> None:
        """The samples hold exactly what ``needs`` asks for; to read anything else raises a ``SignalError``.

        Only ``update`` gets slopes.
        """
        rule = self.bound()
        for samples in self.stream():
            rule.temperature(batches.only(samples, rule.needs & ~SampleNeed.SLOPES))
            rule(batches.only(samples, rule.needs & ~SampleNeed.SLOPES))
            learn(rule, batches.only(samples, rule.needs))

    def test_forward_writes_nothing(self) -> None:
        rule = self.bound()
        for samples in self.stream():
            before = state_of(rule)
            first, second = rule(samples).clone(), rule(samples)
            rule.temperature(samples)
            assert same(first, second), f"forward must give the same answer twice, but not at step {samples.step}."
            written = changed(before, state_of(rule))
            assert not written, f"forward must write no state, but it wrote {', '.join(written)}. Write it in update."
            learn(rule, samples)

    def test_state_survives_a_checkpoint(self) -> None:
        rule, fresh, file = self.bound(), self.bound(), io.BytesIO()
        follow(rule, self.stream())
        torch.save(rule.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        pairs = zip(follow(rule, self.stream(1)), follow(fresh, self.stream(1)), strict=True)
        for step, (one, other) in enumerate(pairs):
            assert same(one, other), (
                f"A loaded checkpoint must go on as if nothing had happened, but {step} steps after it the weights are "
                f"{other.tolist()} instead of {one.tolist()}. Register everything that update learns with add_state."
            )

    def test_state_is_float32_buffers_that_casts_leave_alone(self) -> None:
        rule = self.bound()
        found = [name for name, _ in rule.named_parameters()]
        assert not found, f"A sample weighting must hold no parameters, but it has {', '.join(found)}. Use add_state."
        wrong = [n for n, b in rule.named_buffers() if b.dtype.is_floating_point and b.dtype != torch.float32]
        assert not wrong, f"State must be float32, but {', '.join(wrong)} is not."
        follow(rule, self.stream())
        before = state_of(rule)
        for cast in (rule.half, rule.double):
            cast()
            moved = changed(before, state_of(rule))
            assert not moved, f".{cast.__name__}() must leave the state as it is, but it changed {', '.join(moved)}."

    def test_precision_around_it_changes_nothing(self) -> None:
        """Weights and state are the same float32 numbers under each default dtype, and under autocast."""
        rule = self.bound()
        weights, state = follow(rule, self.stream()), state_of(rule)
        streams = [self.stream() for _ in range(2 * len(DTYPES))]
        for default in DTYPES:
            for autocast in (None, torch.bfloat16):
                stream = streams.pop()
                with precision(default, autocast, self.device):
                    other = self.bound()
                    found = follow(other, stream)
                good = all(map(same, weights, found)) and not changed(state, state_of(other))
                assert good, f"Weights and state must not follow the default dtype, but they do {default}."

    def test_a_loss_that_is_not_finite_moves_no_state(self) -> None:
        rule = self.bound()
        for samples in self.stream():
            for value in (math.nan, math.inf):
                bad = replace(samples, losses=samples.losses.clone().index_fill_(0, samples.index[:1] * 0, value))
                rule(bad)
                before = state_of(rule)
                learn(rule, bad)
                moved = changed(before, state_of(rule))
                assert not moved, f"A loss of {value} must move no state, but it moved {', '.join(moved)}."
            learn(rule, samples)

    def test_total_has_the_weights_as_its_gradient(self) -> None:
        """In real steps: d(total)/d(loss of a sample) is its weight over their number."""
        rule = self.sample_weighting()
        balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=batches.SIZE, total_steps=self.steps)
        rules = balancer.player.samples
        for samples in self.stream():
            balancer.set_epoch(samples.epoch)
            logits = samples.losses.double().log().requires_grad_()
            values = balancer.temper("a", logits, samples.index, samples.labels).exp().float()
            seen = replace(samples, losses=values.detach(), progress=balancer.clock.progress)
            expected = torch.ones_like(values) if rules is None else rules.rules[0](seen)
            entry = Entry(values, labels=samples.labels)
            if rules is not None and balancer.player.foresees:
                rules.foresee({"a": samples.alignment})
            total = balancer({"a": entry}, index=samples.index, keys=samples.keys)
            (slope,) = torch.autograd.grad(total, values, retain_graph=True)
            assert torch.allclose(slope * len(values), expected, rtol=1e-5), (
                f"d(total)/d(loss) times their number must be the weights {expected.tolist()}, but it is "
                f"{(slope * len(values)).tolist()}."
            )
            total.backward()
            assert logits.grad is not None, "The total must reach the prediction, but it does not."

    def test_waits_for_no_device(self) -> None:
        """On tensors without data, whatever would wait for the device (``.item()``, ``if tensor``) raises."""
        rule = self.sample_weighting()
        follow(rule.bind(batches.SIZE).to("meta"), batches.batches(self.steps, device="meta"))

    def test_claims_are_known(self) -> None:
        unknown = sorted(set(self.bound().claims) - CLAIMS.keys())
        assert not unknown, f"A claim must be one of {', '.join(CLAIMS)}, but {', '.join(unknown)} is claimed."

    @pytest.mark.parametrize("claim", ["non_increasing", "non_decreasing"])
    def test_claim_order(self, claim: str) -> None:
        sign = -1 if claim == "non_increasing" else 1
        for samples, weights in self._claimed(claim):
            ordered = weights[samples.losses.argsort()]
            slack = self.tolerance * ordered.abs().max()
            assert bool((sign * ordered.diff() >= -slack).all()), (
                f"{_claim(claim)}, but at step {samples.step} by rising loss they are {ordered.tolist()}."
            )

    def test_claim_at_most_one(self) -> None:
        for samples, weights in self._claimed("at_most_one"):
            most = float(weights.max())
            assert most <= 1 + self.tolerance, f"{_claim('at_most_one')}, but at step {samples.step} one is {most:g}."

    def test_claim_mean_one(self) -> None:
        for samples, weights in self._claimed("mean_one"):
            mean = float(weights[samples.present].mean())
            assert abs(mean - 1) <= self.tolerance, f"{_claim('mean_one')}, but at step {samples.step} it is {mean:g}."

    def test_claim_scale_invariant(self) -> None:
        for by in (2.0**-20, 2.0**20):
            usual = self._claimed("scale_invariant")
            other = follow(self.bound(), [batches.scaled(s, by) for s in self._masked()])
            for step, ((_, one), two, samples) in enumerate(zip(usual, other, self._masked(), strict=True)):
                two = two[samples.present]
                assert torch.allclose(one, two, rtol=self.tolerance), (
                    f"{_claim('scale_invariant')}, but at step {step} they are {two.tolist()}, not {one.tolist()}."
                )

    def _masked(self) -> list[Samples]:
        return [batches.masked(s, [2, 7]) if s.step % 3 == 2 else s for s in self.stream()]

    def _claimed(self, claim: str) -> list[tuple[Samples, Tensor]]:
        """Batches, some with masked samples, and their weights, for present samples only."""
        if claim not in self.bound().claims:
            pytest.skip("not claimed")
        stream = self._masked()
        pairs = zip(stream, follow(self.bound(), stream), strict=True)
        return [(batches.taken(s, s.present), w[s.present]) for s, w in pairs]


def learn(rule: SampleWeighting, samples: Samples) -> None:
    """One update as training does it: only where everything is finite."""
    finite = samples.finite()
    commit(rule, lambda: rule.update(samples), finite, finite)


def follow(rule: SampleWeighting, stream: Iterable[Samples]) -> list[Tensor]:
    """The weights [B] of each batch, learning from each after it."""
    weights = []
    for samples in stream:
        weights.append(rule(samples).detach().clone())
        learn(rule, samples)
    return weights


def _claim(name: str) -> str:
    return f"{name!r} is claimed: {CLAIMS[name]}"


def _expect_finite(weights: Iterable[Tensor], where: str) -> None:
    for step, given in enumerate(weights):
        assert bool(given.isfinite().all()), (
            f"Weights must be finite {where}, but at step {step} they are {given.tolist()}."
        )

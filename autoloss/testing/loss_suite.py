"""The conformance suite of losses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from autoloss.core.errors import EmptySelectionWarning
from autoloss.core.loss import TAKES, FunctionLoss, Loss
from autoloss.testing.precisions import DTYPES, precision
from autoloss.testing.samples import BOUNDED, SAMPLES, Sample
from autoloss.testing.waiting import NoWaiting

BATCH = 6


class LossSuite:
    """What training expects of a loss, each as a test of its own.

    Subclass it in a test file; the data is of the first kind that the loss ``takes``, unless you
    override :meth:`sample`::

        class TestMine(LossSuite):
            def loss(self):
                return Mine(margin=1.0)

            def sample(self, batch):
                return samples.classes(batch)

    ``scales`` are factors of predictions for which values and gradients must be finite; none where
    predictions are probabilities.
    """

    device: str = "cpu"
    scales: tuple[float, ...] = (1e2, 1e4)

    def loss(self) -> Loss:
        """A new loss (a plain function of prediction and target works too)."""
        raise NotImplementedError("Override loss() to return a new instance of the loss under test.")

    def sample(self, batch: int) -> Sample:
        """A random prediction [B, ...] in float32 and its target [B, ...]; torch's seed is set before each call."""
        kind = self._takes()[0]
        if kind not in SAMPLES:
            raise NotImplementedError(
                f"A loss must take one of {', '.join(TAKES)}, but it takes {kind!r}. Override sample() to draw that."
            )
        return SAMPLES[kind][0](batch)

    def test_gives_one_value_for_each_sample(self) -> None:
        shape = list(self._values(*self._draw(BATCH)).shape)
        assert shape == [BATCH], (
            f"A loss must give one value for each sample, [{BATCH}], but it gave {shape}. Never reduce over samples; "
            "autoloss.core.loss.per_sample reduces over the rest."
        )

    def test_takes_a_batch_of_one(self) -> None:
        values = self._values(*self._draw(1))
        good = values.dim() > 0 and len(values) == 1 and bool(values.isfinite().all())
        assert good, f"A batch of one must give one finite value, but it gave {values.tolist()}."

    def test_says_what_it_takes(self) -> None:
        strange = [kind for kind in self._takes() if kind not in TAKES]
        assert self._takes(), "A loss must say what it takes, but `takes` is empty."
        assert not strange, f"`takes` must name kinds of data ({', '.join(TAKES)}), but it has {', '.join(strange)}."

    def test_order_of_samples_does_not_matter(self) -> None:
        prediction, target = self._draw(BATCH)
        order = torch.arange(BATCH).flip(0)
        expected = self._values(prediction.double(), _double(target))[order]
        values = self._values(prediction[order].double(), _double(target[order]))
        assert torch.allclose(values, expected, rtol=1e-5), (
            f"Samples in another order must have the same values in that order, {expected.tolist()}, but they have "
            f"{values.tolist()}."
        )

    def test_samples_do_not_meet(self) -> None:
        """A sample has the same value alone as in its batch, except with a paired loss."""
        prediction, target = self._draw(BATCH)
        if self._paired():
            return
        together = self._values(prediction.double(), _double(target)).reshape(-1)
        alone = [self._values(prediction[i : i + 1].double(), _double(target[i : i + 1])) for i in range(BATCH)]
        apart = torch.cat([values.reshape(-1) for values in alone])
        good = together.shape == apart.shape and torch.allclose(together.double(), apart.double(), rtol=1e-5)
        assert good, (
            f"A sample's value must depend on that sample only, but in a batch the values are {together.tolist()} and "
            f"each on its own {apart.tolist()}."
        )

    def test_gradient_is_that_of_the_value(self) -> None:
        """In float64 against finite differences."""
        prediction, target = self._draw(3)
        prediction = prediction.double().requires_grad_()
        torch.autograd.gradcheck(lambda p: self._values(p, _double(target)), (prediction,))

    def test_masked_samples_take_no_part(self) -> None:
        """Whatever their target is: no gradient comes from it, and the other samples keep their values."""
        prediction, target = self._draw(BATCH)
        mask = torch.arange(BATCH, device=prediction.device) % 3 > 0
        values, gradient = self._masked(prediction, target, mask)
        spoilt = target.clone()
        spoilt[~mask] = float("nan") if target.is_floating_point() else 10**6
        again, slope = self._masked(prediction, spoilt, mask)
        assert torch.equal(values, again), (
            f"A masked target must not count, but with another one the values are {again.tolist()} instead of "
            f"{values.tolist()}."
        )
        good = bool(gradient.isfinite().all()) and torch.equal(gradient, slope)
        assert good, f"Gradients must be finite and not depend on a masked target, but they are {slope.tolist()}."

    def test_is_finite_for_large_predictions(self) -> None:
        for by in () if self._takes()[0] in BOUNDED else self.scales:
            self._expect_finite(self._draw(BATCH, by), f"for predictions of about {by:g}")

    def test_waits_for_no_device(self) -> None:
        """Neither forward nor backward reads a number from the device: a wrong label is reported at the next flush."""
        prediction, target = self._draw(BATCH)
        made = self._made()
        for part in made.modules():
            if isinstance(part, Loss):
                part.notices.at_hand = lambda tensor: False  # type: ignore[method-assign]
        prediction.requires_grad_()
        with NoWaiting():
            torch.autograd.grad(made.masked(prediction, target, torch.ones(BATCH).bool()).sum(), prediction)

    def test_is_finite_in_bfloat16(self) -> None:
        prediction, target = self._draw(64)
        self._expect_finite((prediction.bfloat16(), target), "for a prediction in bfloat16")
        if target.is_floating_point():
            self._expect_finite((prediction.bfloat16(), target.bfloat16()), "in bfloat16")

    def test_half_precision_computes_in_float32(self) -> None:
        """With autocast on or off, and under any default dtype: sums over pixels need it."""
        prediction, target = self._draw(64)
        if not self._made().widened:
            pytest.skip("takes half precision as it is")
        for half in (torch.bfloat16, torch.float16):
            given, wanted = prediction.to(half), target.to(half) if target.is_floating_point() else target
            expected = self._values(given.double(), _double(wanted))
            for default in DTYPES:
                for autocast in (None, half):
                    with precision(default, autocast, self.device):
                        found = self._values(given, wanted)
                    good = torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-5)
                    good = good and found.dtype == torch.float32
                    assert good, (
                        f"Values of a prediction in {half} must be computed in float32 (autocast {autocast}, default "
                        f"dtype {default}), {expected.tolist()}, but they are {found.tolist()} in {found.dtype}."
                    )

    def test_float64_stays_float64(self) -> None:
        prediction, target = self._draw(BATCH)
        found = self._values(prediction.double(), _double(target)).dtype
        assert found == torch.float64, f"The loss of a float64 prediction must be float64, but it is {found}."

    def _draw(self, batch: int, by: float = 1.0) -> Sample:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            prediction, target = self.sample(batch)
        return by * prediction.to(self.device), target.to(self.device)

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        # Not self.loss()(...) in one expression: a class attribute that is a function would be bound to the suite.
        loss = self.loss()
        with _pairs_may_be_missing():
            return loss(prediction, target)

    def _made(self) -> Loss:
        made = self.loss()
        return made if isinstance(made, Loss) else FunctionLoss(made)

    def _takes(self) -> tuple[str, ...]:
        return self._made().takes

    def _paired(self) -> bool:
        return self._made().paired

    def _masked(self, prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The values of the present samples, and the gradient of their sum."""
        prediction = prediction.clone().requires_grad_()
        with _pairs_may_be_missing():
            values = self._made().masked(prediction, target, mask)[mask]
        (gradient,) = torch.autograd.grad(values.sum(), prediction)
        return values.detach(), gradient

    def _expect_finite(self, sample: Sample, where: str) -> None:
        prediction, target = sample[0].requires_grad_(), sample[1]
        values = self._values(prediction, target)
        (gradient,) = torch.autograd.grad(values.sum(), prediction)
        for what, found in (("values", values), ("gradients", gradient)):
            assert bool(found.isfinite().all()), (
                f"The {what} must be finite {where}, but some are not: {found.tolist()}."
            )


@contextmanager
def _pairs_may_be_missing() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptySelectionWarning)
        yield


def _double(target: Tensor) -> Tensor:
    return target.double() if target.is_floating_point() else target

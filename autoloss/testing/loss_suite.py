"""The conformance suite of losses."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.loss import Loss
from autoloss.testing.samples import Sample, regression

BATCH = 6


class LossSuite:
    """What training takes for granted of a loss, each as a test of its own.

    Subclass it in a test file, and override :meth:`sample` unless the loss is a regression::

        class TestMine(LossSuite):
            def loss(self):
                return Mine(margin=1.0)

            def sample(self, batch):
                return samples.classes(batch)
    """

    device: str = "cpu"

    def loss(self) -> Loss:
        """A new loss (a plain function of prediction and target will do)."""
        raise NotImplementedError("Override loss() to return a new instance of the loss under test.")

    def sample(self, batch: int) -> Sample:
        """A random prediction [B, ...] in float32 and its target [B, ...]; torch's seed is set before each call."""
        return regression(batch, 3)

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

    def test_samples_do_not_meet(self) -> None:
        """The value of a sample is the same alone as in its batch."""
        prediction, target = self._draw(BATCH)
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

    def test_is_finite_for_large_predictions(self) -> None:
        for by in (1e2, 1e4):
            self._expect_finite(self._draw(BATCH, by), f"for predictions of about {by:g}")

    def test_is_finite_in_bfloat16(self) -> None:
        prediction, target = self._draw(64)
        self._expect_finite((prediction.bfloat16(), target), "for a prediction in bfloat16")
        if target.is_floating_point():
            self._expect_finite((prediction.bfloat16(), target.bfloat16()), "in bfloat16")

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
        # Not self.loss()(...) at once: a class attribute that is a function would be bound to the suite.
        loss = self.loss()
        return loss(prediction, target)

    def _expect_finite(self, sample: Sample, where: str) -> None:
        prediction, target = sample[0].requires_grad_(), sample[1]
        values = self._values(prediction, target)
        (gradient,) = torch.autograd.grad(values.sum(), prediction)
        for what, found in (("values", values), ("gradients", gradient)):
            assert bool(found.isfinite().all()), (
                f"The {what} must be finite {where}, but some are not: {found.tolist()}."
            )


def _double(target: Tensor) -> Tensor:
    return target.double() if target.is_floating_point() else target

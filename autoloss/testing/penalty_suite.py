"""The conformance suite of penalties."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.penalty import Penalty
from autoloss.testing.precisions import precision
from autoloss.testing.waiting import NoWaiting


class PenaltySuite:
    """What training expects of a penalty, each as a test of its own.

    Subclass it in a test file::

        class TestMine(PenaltySuite):
            def penalty(self):
                return Mine(alpha=1.0)

    Override :meth:`parameters` if your penalty takes other tensors than a tall matrix, a wide one and a kernel.
    """

    device: str = "cpu"

    def penalty(self) -> Penalty:
        """A new penalty."""
        raise NotImplementedError("Override penalty() to return a new instance of the penalty under test.")

    def parameters(self) -> list[Tensor]:
        """Random parameters in float32; torch's seed is set before each call."""
        return [torch.randn(4, 3), torch.randn(2, 5), torch.randn(3, 2, 2, 2)]

    def test_gives_one_number_of_at_least_0(self) -> None:
        value = self._value(self._draw())
        assert value.dim() == 0, f"A penalty must give a scalar, but it gave {list(value.shape)}."
        assert value.item() >= 0, f"A penalty must be at least 0, but it is {value.item()}."

    def test_takes_a_single_tensor(self) -> None:
        value = self._value(self._draw()[:1])
        assert bool(value.isfinite()), f"The penalty of one tensor must be finite, but it is {value.item()}."

    def test_order_of_tensors_does_not_matter(self) -> None:
        drawn = [p.double() for p in self._draw()]
        first, second = self._value(drawn), self._value(drawn[::-1])
        assert torch.allclose(first, second), (
            f"Parameters in another order must cost the same, {first.item()}, but they cost {second.item()}."
        )

    def test_gradient_is_that_of_the_value(self) -> None:
        """In float64 against finite differences."""
        drawn = [p.double().requires_grad_() for p in self._draw()]
        torch.autograd.gradcheck(lambda *tensors: self._value(list(tensors)), drawn)

    def test_is_finite_with_its_gradient_for_small_and_large_parameters(self) -> None:
        for by in (0.0, 1e-20, 1e-3, 1e3):
            drawn = [(by * p).requires_grad_() for p in self._draw()]
            value = self._value(drawn)
            gradients = torch.autograd.grad(value, drawn, allow_unused=True)
            good = bool(value.isfinite()) and all(bool(g.isfinite().all()) for g in gradients if g is not None)
            assert good, f"Value and gradients must be finite for parameters of about {by:g}, but some are not."

    def test_computes_in_single_precision_at_least(self) -> None:
        for given, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
            found = self._value([p.to(given) for p in self._draw()]).dtype
            assert found == expected, f"The penalty of {given} parameters must be {expected}, but it is {found}."
        drawn = [p.requires_grad_() for p in self._draw()]
        expected_value = self._value(drawn)
        with precision(torch.float64, torch.bfloat16, self.device):
            value = self._value(drawn)
        assert torch.equal(value, expected_value), (
            f"Autocast and torch's default dtype must not change a penalty, but it is {value} instead of "
            f"{expected_value}."
        )

    def test_leaves_the_parameters_alone(self) -> None:
        drawn = self._draw()
        before = [p.clone() for p in drawn]
        self._value(drawn)
        assert all(map(torch.equal, before, drawn)), "A penalty must not write to parameters, but it did."

    def test_waits_for_no_device(self) -> None:
        drawn = [p.requires_grad_() for p in self._draw()]
        made = self.penalty()
        with NoWaiting():
            torch.autograd.grad(made(drawn), drawn, allow_unused=True)

    def _draw(self) -> list[Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return [p.to(self.device) for p in self.parameters()]

    def _value(self, parameters: list[Tensor]) -> Tensor:
        # Not self.penalty()(...) in one expression: a class attribute that is a function would be bound to the suite.
        made = self.penalty()
        return made(parameters)

"""Checks of the K weights that a weighting gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass

import pytest
import torch
from torch import Tensor, nn

from autoloss.core.need import GRADIENTS
from autoloss.core.surgery import Surgery
from autoloss.testing import streams
from autoloss.testing.subject import Subject, expect_finite, follow, learn, same
from autoloss.training.balancer import Balancer
from autoloss.training.step.contract import ContractError


class AnswerChecks(Subject):
    """The weights have the right shape, are finite, and are the gradient of the total."""

    def test_gives_one_float32_weight_for_each_loss(self) -> None:
        weighting = self.bound()
        for signals in self.stream():
            weights = weighting(signals)
            found = (list(weights.shape), weights.dtype)
            assert found == ([len(self.names)], torch.float32), (
                f"forward must give [K] float32 weights, but for K={len(self.names)} it gave {found[0]} in {found[1]}."
            )
            learn(weighting, signals)

    def test_is_finite_at_every_scale(self) -> None:
        every, first = range(len(self.names)), [0]
        for by in (1e-10, 1e-5, 1e5, 1e10):
            for which, losses in (("all losses", every), ("the first loss", first)):
                for what, factors, steep in (
                    (f"{which} and their gradients", self.factors(by, losses), None),
                    (f"the values of {which}", self.factors(by, losses), self.factors(1.0, losses)),
                    (f"the gradients of {which}", self.factors(1.0, losses), self.factors(by, losses)),
                ):
                    signals = [streams.scaled(s, factors, steep) for s in self.stream(steps=3)]
                    expect_finite(follow(self.bound(), signals), f"with {what} times {by:g}")

    def test_is_finite_when_losses_jump(self) -> None:
        for losses in (range(len(self.names)), [0]):
            for by in (1e-10, 1e10):
                factors = self.factors(by, losses)
                signals = [streams.scaled(s, factors) if s.step in (3, 4, 5) else s for s in self.stream()]
                expect_finite(follow(self.bound(), signals), f"when losses jump by {by:g} at step 3 and back at 6")

    def test_is_finite_at_a_loss_of_zero(self) -> None:
        for losses in ([0], list(range(len(self.names)))):
            zero, ones = self.factors(0.0, losses), self.factors(1.0, losses)
            for when in ({0}, {3}, set(range(self.steps))):
                signals = [streams.scaled(s, zero, ones) if s.step in when else s for s in self.stream()]
                expect_finite(follow(self.bound(), signals), f"where a loss is exactly 0 at steps {sorted(when)}")

    def test_is_finite_at_negative_losses(self) -> None:
        if self.bound().positive:
            pytest.skip("positive=True")
        for losses in ([0], list(range(len(self.names)))):
            minus, ones = self.factors(-1.0, losses), self.factors(1.0, losses)
            for when in (set(range(3, self.steps)), set(range(self.steps))):
                signals = [streams.scaled(s, minus, ones) if s.step in when else s for s in self.stream()]
                expect_finite(follow(self.bound(), signals), "where a loss is negative, or positive=True")

    def test_is_finite_at_a_gradient_of_zero(self) -> None:
        if not self.bound().needs & GRADIENTS:
            pytest.skip("needs no gradients")
        for losses in ([0], list(range(len(self.names)))):
            for when in ({0}, {3}, set(range(self.steps))):
                signals = [streams.flat(s, losses) if s.step in when else s for s in self.stream()]
                expect_finite(follow(self.bound(), signals), f"where a gradient is exactly 0 at steps {sorted(when)}")

    def test_one_loss_is_enough(self) -> None:
        """If ``fewest`` is larger, so many losses."""
        names = self.names[: self.fewest]
        weights = follow(self.bound(names), streams.stream(names, self.steps, device=self.device))
        assert all(w.shape == (len(names),) for w in weights), "One loss must get one weight."
        expect_finite(weights, f"for K={len(names)}")

    def test_signals_are_only_read(self) -> None:
        weighting = self.bound()
        for signals, untouched in zip(self.stream(), self.stream(), strict=True):
            weighting(signals)
            learn(weighting, signals)
            for name, tensor in _tensors(signals).items():
                assert same(tensor, _tensors(untouched)[name]), (
                    f"A weighting must only read its signals, but signals.{name} changed at step {signals.step}."
                )

    def test_total_has_the_weights_as_its_gradient(self) -> None:
        """In real training steps, d(total)/d(loss) is the reported weight."""
        if isinstance(self.bound(), Surgery):
            pytest.skip("a surgery gives no weights")
        try:
            self._train()
        except ContractError:
            pytest.skip("the weighting breaks its contract, which other checks say")

    def _train(self) -> None:
        network, losses_of = _training(len(self.names), self.device)
        optimizer = torch.optim.SGD(network.parameters(), 1e-3)
        balancer = Balancer(self.names, self.weighting(), total_steps=self.steps)

        def by_name(net: nn.Module) -> dict[str, Tensor]:
            return dict(zip(self.names, losses_of(net)[0], strict=True))

        for step in range(self.steps):
            balancer.set_epoch(step // 2)
            with balancer.lookahead(network, optimizer, train=by_name, held_out=by_name):
                optimizer.zero_grad()
                losses, features = losses_of(network)
                total = balancer(dict(zip(self.names, losses, strict=True)), anchor=features)
                slopes = torch.autograd.grad(total, losses, retain_graph=True)
                steepness = torch.stack([of_samples.sum() for of_samples in slopes])
                reported = torch.tensor([balancer.weights[name] for name in self.names], device=self.device)
                assert torch.allclose(steepness, reported), (
                    f"d(total)/d(loss) must be the reported {reported.tolist()}, but it is {steepness.tolist()}."
                )
                total.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
        balancer.close()

    def test_waits_for_no_device(self) -> None:
        """On tensors without data, all that would wait for the device (``.item()``, ``if tensor``) raises."""
        if self.bound().needs & GRADIENTS:
            pytest.skip("may solve on the host")
        weighting = self.weighting().bind(self.names).to("meta")
        follow(weighting, streams.stream(self.names, self.steps, device="meta"))


def _training(size: int, device: str) -> tuple[nn.Module, Callable[[nn.Module], tuple[tuple[Tensor, ...], Tensor]]]:
    """A network with ``size`` heads, and its losses (of each sample) and features on one batch."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, size))
        inputs, targets = torch.randn(8, 4), torch.randn(8, size)
    network.to(device)

    def losses_of(net: nn.Module) -> tuple[tuple[Tensor, ...], Tensor]:
        trunk, squash, heads = net.children()
        features = squash(trunk(inputs.to(device)))
        return ((heads(features) - targets.to(device)) ** 2).unbind(1), features

    return network, losses_of


def _tensors(signals: object) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    assert is_dataclass(signals)
    for field in fields(signals):
        value = getattr(signals, field.name)
        if isinstance(value, Tensor):
            found[field.name] = value
        elif is_dataclass(value):
            found |= {f"{field.name}.{name}": tensor for name, tensor in _tensors(value).items()}
    return found

"""Checks of a weighting in trainings of other precision than float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from autoloss.core.clock import Clock
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.surgery import Surgery
from autoloss.core.table import Anchor, LossTable
from autoloss.testing.subject import Subject, changed, same, state_of
from autoloss.training.balancer import Balancer
from autoloss.training.step.player import Player

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
STEPS = 4


@contextmanager
def precision(default: torch.dtype, autocast: torch.dtype | None = None, device: str = "cpu") -> Iterator[None]:
    """Within it new tensors are ``default``, and ``autocast`` is on if it is given."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.autocast(device, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            yield
    finally:
        torch.set_default_dtype(before)


class PrecisionChecks(Subject):
    """Weights and state are float32, whatever the precision around them is, and hide no overflow from a scaler."""

    def test_precision_around_it_changes_nothing(self) -> None:
        """From the same float32 losses it learns the same under each default dtype, and under autocast."""
        expected = self._trained(torch.float32, torch.float32)
        for default in DTYPES:
            for building in {torch.float32, default}:
                for autocast in (None, torch.bfloat16):
                    found = self._trained(building, default, autocast)
                    for step, (one, other) in enumerate(zip(expected, found, strict=True)):
                        assert same(one, other), (
                            f"A training whose default dtype is {default} (built in {building}, autocast {autocast}) "
                            f"must learn the same, but at step {step} the network's gradient and the weights are "
                            f"{other.tolist()} instead of {one.tolist()}."
                        )

    def test_a_probe_that_overflows_reaches_the_scaler(self) -> None:
        """Where float16 gradients at the anchor overflow, so does the total, and nothing is learned."""
        bound = self.bound()
        if not bound.needs & GRADIENTS:
            pytest.skip("needs no gradients")
        scale = torch.tensor(2.0**16, dtype=torch.float32, device=self.device)
        for default in DTYPES:
            for large in range(len(self.names)):
                with precision(default, torch.float16, self.device):
                    player = Player(self.names, self.weighting()).to(self.device)
                    for step in range(self.steps):
                        features = self._features()
                        table = self._table(features, dict.fromkeys(self.names, features), large)
                        before = state_of(player.weighting)
                        weighed = player.step(table, self._clock(step), scale)
                        probed = bool(bound.needs_at(step) & GRADIENTS)
                        assert weighed is not None
                        assert bool(weighed.total.isfinite()) != probed, (
                            "The total must not be finite where a gradient overflowed, or the scaler never lowers its "
                            f"factor, but at step {step} it is {float(weighed.total)} with {player.last.tolist()}."
                        )
                        player.commit() if probed and not player.looks_ahead(step) else player.forget()
                        moved = changed(before, state_of(player.weighting))
                        assert not moved, f"An overflow must move no state, but it moved {', '.join(moved)}."

    def test_an_overflow_in_a_fork_reaches_the_scaler(self) -> None:
        bound = self.bound()
        surgical = isinstance(bound, Surgery)
        if not surgical and not bound.needs & GRADIENTS:
            pytest.skip("needs no gradients")
        if Need.KERNEL in bound.needs:
            pytest.skip("kernels are not measured in a fork")
        for large in range(len(self.names)):
            player = Player(self.names, self.weighting()).to(self.device)
            for step in (step for step in range(self.steps) if surgical or bound.needs_at(step) & GRADIENTS):
                features = self._features()
                fork = player.fork(features * 1)
                weighed = player.step(self._table(fork, fork, large), self._clock(step))
                assert weighed is not None
                (weighed.total * 2.0**16).backward()
                player.forget()
                assert features.grad is not None
                assert not features.grad.isfinite().all(), (
                    f"The features' gradient must not be finite where one that meets in the fork overflowed, or the "
                    f"scaler never lowers its factor, but at step {step} it is."
                )

    def _clock(self, step: int) -> Clock:
        return Clock(step, step // 2, step / max(self.steps - 1, 1))

    def _features(self) -> Tensor:
        return torch.ones(8, 3, dtype=torch.float16, device=self.device, requires_grad=True)

    def _table(self, anchor: Anchor, copies: dict[str, Tensor] | Anchor, large: int) -> LossTable:
        """Losses of copies of the features; the gradient of the ``large`` one times 2^16 overflows float16."""
        factors = self.factors(100.0, [large])
        losses = {
            name: factor * 0.1 * copies[name].float().square().sum(1)  # type: ignore[index,union-attr,call-overload,operator]
            for name, factor in zip(self.names, factors, strict=True)
        }
        return LossTable(losses, anchor)

    def _trained(
        self, building: torch.dtype, default: torch.dtype, autocast: torch.dtype | None = None
    ) -> list[Tensor]:
        """The network's gradient and the weights at each step; losses and network are float32 without autocast."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, len(self.names))).to(self.device)
            inputs, targets = torch.randn(8, 4).to(self.device), torch.randn(8, len(self.names)).to(self.device)
        optimizer, found = torch.optim.SGD(network.parameters(), 1e-2), []
        with precision(building):
            balancer = Balancer(self.names, self.weighting(), total_steps=STEPS).to(self.device)
        surgical = isinstance(balancer.player.weighting, Surgery)

        def losses_of(net: nn.Module) -> tuple[dict[str, Tensor], Anchor]:
            trunk, squash, heads = net.children()
            with torch.autocast(self.device, enabled=False):
                features = squash(trunk(inputs))
                copies = balancer.fork(features) if surgical else dict.fromkeys(self.names, features)
                losses = {
                    name: (heads(copies[name])[:, i] - targets[:, i]).square() for i, name in enumerate(self.names)
                }
            return losses, copies if surgical else features

        for step in range(STEPS):
            balancer.set_epoch(step // 2)
            optimizer.zero_grad()
            with (
                precision(default, autocast, self.device),
                balancer.lookahead(
                    network, optimizer, train=lambda net: losses_of(net)[0], held_out=lambda net: losses_of(net)[0]
                ),
            ):
                losses, anchor = losses_of(network)
                total = balancer(losses, anchor=anchor)
                with torch.autocast(self.device, enabled=False):
                    total.backward()
                optimizer.step()
            gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            found.append(torch.cat([*gradients, balancer.player.last]))
        state = [f"{n} in {b.dtype}" for n, b in balancer.named_buffers() if b.dtype.is_floating_point]
        wrong = [text for text in state if not text.endswith("float32")]
        assert not wrong, f"State must be float32 under the default dtype {building}, but it has {', '.join(wrong)}."
        return found

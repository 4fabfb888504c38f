"""The losses of held-out data after a step: as a validation would measure them, and nothing is disturbed."""

import pytest
import torch
from torch import nn

from autoloss import Balancer, ConfigError, Entry, Need, Weighting


class Remembering(Weighting):
    """Weighs all losses with 1 and keeps what was measured on held-out data at every second step."""

    needs = Need.VALUES | Need.HELD_OUT

    def needs_at(self, step):
        return self.needs if step % 2 == 0 else Need.VALUES

    def allocate(self, size):
        self.add_state("seen", torch.zeros(size))
        self.found = []

    def forward(self, signals):
        return signals.values.new_ones(len(signals.names))

    def update(self, signals):
        if Need.HELD_OUT in self.needs_at(signals.step):
            self.found.append(signals.held_out)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))


def losses(net, x):
    return dict(zip("ab", net(x).square().mean(0), strict=True))


def trained(weighting, steps=4, held_out=losses, **options):
    """A network after ``steps`` steps, what they measured, and the held-out losses that a validation measures."""
    net, validations = network(), []
    optimizer, balancer = torch.optim.SGD(net.parameters(), 0.1), Balancer("ab", weighting, **options)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, held = torch.randn(2, 6, 3, generator=generator)
        optimizer.zero_grad()
        with balancer.lookahead(net, train=lambda net, x=x: losses(net, x), held_out=lambda n, h=held: held_out(n, h)):
            balancer(losses(net, x)).backward()
            optimizer.step()
        modes = [part.training for part in net.modules()]
        assert all(modes)
        with torch.no_grad():
            net.eval()
            validations.append(torch.stack(list(losses(net, held).values())))
            net.train()
    return net, balancer, validations


def test_they_are_those_of_a_validation_after_the_step():
    weighting = Remembering()
    _, _, validations = trained(weighting)
    torch.testing.assert_close(weighting.found, validations[::2])


def test_measuring_them_disturbs_nothing():
    (measured, _, _), (plain, _, _) = trained(Remembering()), trained("equal")
    one, other = measured.state_dict(), plain.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_modules_that_were_in_evaluation_mode_stay_so():
    net = network()
    net[1].eval()
    balancer = Balancer("ab", Remembering())
    x = torch.randn(6, 3)
    with balancer.lookahead(net, train=lambda net: losses(net, x), held_out=lambda net: losses(net, x)):
        balancer(losses(net, x)).backward()
    assert [part.training for part in net] == [True, False, True, True]


def test_a_loss_that_is_absent_or_not_finite_is_nan():
    weighting = Remembering()

    def held_out(net, x):
        return {"a": Entry(net(x)[:, 0], torch.zeros(len(x), dtype=torch.bool)), "b": net(x)[:, 1].sum() / 0}

    trained(weighting, 1, held_out)
    assert weighting.found[0].isnan().all()


def test_units_are_measured_not_losses():
    weighting = Remembering()
    _, _, validations = trained(weighting, 1, base={"a": 3.0}, groups={"both": ["a", "b"]})
    torch.testing.assert_close(weighting.found[0], (validations[0] * torch.tensor([3.0, 1.0])).sum()[None])


def test_a_window_measures_once():
    weighting, net = Remembering(), network()
    balancer, calls = Balancer("ab", weighting, accumulate=3), []
    x = torch.randn(6, 3)
    for _ in range(3):
        with balancer.lookahead(
            net, train=lambda net: losses(net, x), held_out=lambda net: calls.append(1) or losses(net, x)
        ):
            balancer(losses(net, x)).backward()
    assert (len(calls), len(weighting.found)) == (1, 1)


def test_a_look_ahead_without_held_out_losses_says_what_it_lacks():
    net, balancer = network(), Balancer("ab", "coba")
    with (
        pytest.raises(ConfigError, match=r"Weighting 'coba' needs held-out losses, but the look-ahead lacks one"),
        balancer.lookahead(net, train=lambda net: losses(net, torch.randn(6, 3))),
    ):
        pass


def test_coba_learns_in_a_loop_of_ones_own():
    _, balancer, _ = trained({"name": "coba", "window": 4, "warmup": 2}, 8)
    assert sum(balancer.weights.values()) == pytest.approx(2.0)
    assert len(set(balancer.weights.values())) == 2

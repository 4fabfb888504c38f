"""Weights of noise levels: closed forms, one error whatever the network predicts, and a learned one that finds it."""

import math

import pytest
import torch

from autoloss import Balancer, Samples
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.sample_weightings.level_uncertainty import LevelUncertainty

RULES = ("min_snr", "edm", "p2", "sigmoid")
LEVELS = torch.logspace(-2, 2, 41)
SNR = 1 / LEVELS**2


def batch(levels: torch.Tensor, losses: torch.Tensor | None = None, key: str = "level") -> Samples:
    losses = torch.ones_like(levels) if losses is None else losses
    return Samples("a", losses, torch.ones_like(levels, dtype=torch.bool), keys={key: levels})


def weights(name: str, **parameters) -> torch.Tensor:
    return registry.build("sample_weighting", name, **parameters).bind()(batch(LEVELS))


def test_the_weights_are_those_of_the_papers():
    close = torch.testing.assert_close
    close(weights("min_snr"), torch.minimum(torch.ones(41), 5 / SNR))
    close(weights("min_snr", gamma=2.0, target="x0"), SNR.clamp(max=2))
    close(weights("min_snr", target="v"), SNR.clamp(max=5) / (SNR + 1))
    close(weights("edm"), (LEVELS**2 + 0.25) / (LEVELS * 0.5) ** 2)
    close(weights("p2", gamma=0.5, k=2.0), (2 + SNR) ** -0.5)
    close(weights("sigmoid", bias=-1.0), torch.sigmoid(-1 - SNR.log()))


def test_limits():
    close = torch.testing.assert_close
    close(weights("p2", gamma=0.0), torch.ones(41))
    close(weights("min_snr", gamma=1e6), torch.ones(41))  # the plain loss of the noise
    close(weights("sigmoid", bias=20.0), torch.ones(41), rtol=1e-4, atol=1e-4)
    gamma = 3.0  # sigmoid is a soft min-SNR
    soft, hard = weights("sigmoid", bias=math.log(gamma), target="x0"), weights("min_snr", gamma=gamma, target="x0")
    close(soft, 1 / (1 / SNR + 1 / gamma))
    assert (soft <= hard).all()
    assert (soft >= hard / 2).all()


@pytest.mark.parametrize("name", RULES)
def test_one_weighted_error_whatever_the_network_predicts(name):
    """The same guess of x0, measured at the noise, at x0 and at v of a process that keeps the variance."""
    generator = torch.Generator().manual_seed(0)
    x0, noise, guess = torch.randn(3, 41, 7, generator=generator, dtype=torch.float64)
    alpha = (1 / (1 + LEVELS.double() ** 2)).sqrt()[:, None]
    sigma = (1 - alpha**2).sqrt()
    seen = alpha * x0 + sigma * noise
    guessed = {"x0": guess, "epsilon": (seen - alpha * guess) / sigma}
    guessed["v"] = alpha * guessed["epsilon"] - sigma * guess
    truth = {"x0": x0, "epsilon": noise, "v": alpha * noise - sigma * x0}
    found = {
        target: weights(name, target=target) * (guessed[target] - truth[target]).square().mean(1).float()
        for target in truth
    }
    torch.testing.assert_close(found["epsilon"], found["x0"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["v"], found["x0"], rtol=1e-4, atol=1e-6)


def test_edm_makes_the_loss_of_a_network_that_knows_nothing_1_at_every_level():
    """D(x) = c_skip x, the best guess of normal data of size 0.5: its error is that of EDM's scaled network."""
    data = 0.5
    error = (LEVELS * data) ** 2 / (LEVELS**2 + data**2)
    torch.testing.assert_close(weights("edm", data=data) * error, torch.ones(41))


@pytest.mark.parametrize("name", RULES)
def test_extreme_levels_have_finite_weights(name):
    for target in ("epsilon", "x0", "v"):
        rule = registry.build("sample_weighting", name, target=target).bind()
        found = rule(batch(torch.tensor([1e-38, 1e-20, 1e-9, 1e9, 1e20, 3e38])))
        assert found.isfinite().all()
        assert (found >= 0).all()


def test_a_learned_uncertainty_finds_the_mean_loss_of_each_level():
    generator = torch.Generator().manual_seed(0)

    def mean(level: torch.Tensor) -> torch.Tensor:
        return 50 * level**2 / (0.25 + level**2) + 0.1

    rule = LevelUncertainty(lr=0.02).bind()
    for _ in range(1500):
        levels = (1.2 * torch.randn(128, generator=generator) - 1.2).exp()
        noise = torch.randn(128, 8, generator=generator).square().mean(1)
        rule.update(batch(levels, mean(levels) * noise))
    levels = torch.logspace(math.log10(0.03), math.log10(3), 25)
    found = rule(batch(levels)) * mean(levels)
    assert found.log().abs().mean() < 0.1
    assert found.log().abs().max() < 0.3


def test_at_the_start_the_mean_weighted_loss_is_1():
    losses = 1e4 * torch.rand(64)
    rule = LevelUncertainty().bind()
    assert (rule(batch(torch.rand(64) + 0.1, losses)) * losses).mean() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("name", [*RULES, "level_uncertainty"])
def test_levels_that_are_missing_or_none_are_named(name):
    balancer = Balancer(["a"], "equal", sample_weighting={"name": name, "key": "sigma"})
    losses = {"a": torch.ones(2)}
    with pytest.raises(AutolossError, match=r"No key of the data is called 'sigma'\. There are: none"):
        balancer(losses)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="A noise level must be above 0 and finite, but 'sigma' has"):
            balancer(losses, keys={"sigma": torch.tensor([1.0, wrong])})
    balancer(losses, keys={"sigma": torch.tensor([1.0, 2.0])})


def test_a_key_of_one_term_alone_goes_before_a_common_one():
    rule = {"name": "min_snr", "target": "x0", "gamma": 1e6}
    balancer = Balancer(["a", "b"], "equal", sample_weighting=rule)
    common, own = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 8.0])
    losses = {name: torch.ones(2, requires_grad=True) for name in "ab"}
    balancer(losses, keys={"level": common, "b.level": own}).backward()
    torch.testing.assert_close(losses["a"].grad, 1 / common**2 / 2)  # of a mean over two
    torch.testing.assert_close(losses["b"].grad, 1 / own**2 / 2)

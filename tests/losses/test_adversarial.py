"""Both sides of each game against closed forms."""

from math import log

import pytest
import torch
from torch.nn.functional import softplus

from autoloss.core.errors import ConfigError
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.registry.lookup import registry

GAMES = ["minimax", "non_saturating", "least_squares", "gan_hinge", "wasserstein", "relativistic"]


def game(name: str, **parameters: float) -> AdversarialLoss:
    return registry.build("loss", name, **parameters)


# By name: the discriminator's and the generator's loss where every logit is 0.
AT_ZERO = {
    "minimax": (2 * log(2), -log(2)),
    "non_saturating": (2 * log(2), log(2)),
    "least_squares": (0.5, 0.5),
    "gan_hinge": (2.0, 0.0),
    "wasserstein": (0.0, 0.0),
    "relativistic": (log(2), log(2)),
}


@pytest.mark.parametrize("name", GAMES)
def test_an_undecided_discriminator(name: str) -> None:
    zero = torch.zeros(4)
    wanted = torch.tensor(AT_ZERO[name])[:, None].expand(2, 4)
    found = torch.stack([game(name).discriminator(zero, zero), game(name)(zero, zero)])
    assert torch.allclose(found, wanted)


def test_least_squares_at_one_half() -> None:
    half = torch.full((3,), 0.5)
    assert torch.allclose(game("least_squares").discriminator(half, half), torch.tensor(0.25))


@pytest.mark.parametrize("name", GAMES)
def test_each_side_wants_the_opposite(name: str) -> None:
    """A step down the generator's loss raises D(y); a step down the discriminator's raises D(x) and lowers D(y)."""
    real, fake = torch.tensor([0.2, -0.3], requires_grad=True), torch.tensor([0.1, 0.4], requires_grad=True)
    up, down = torch.autograd.grad(game(name).discriminator(real, fake).sum(), (real, fake))
    (wish,) = torch.autograd.grad(game(name)(fake, real).sum(), fake)
    assert (up < 0).all()
    assert (down > 0).all()
    assert (wish < 0).all()


def test_non_saturating_has_the_direction_of_minimax() -> None:
    logits = torch.linspace(-5, 5, 11, dtype=torch.float64, requires_grad=True)
    (minimax,) = torch.autograd.grad(game("minimax")(logits).sum(), logits)
    (non_saturating,) = torch.autograd.grad(game("non_saturating")(logits).sum(), logits)
    assert torch.allclose(non_saturating / minimax, torch.sigmoid(-logits) / torch.sigmoid(logits))


def test_relativistic_does_not_see_a_constant() -> None:
    real, fake = torch.randn(2, 6, dtype=torch.float64)
    loss = game("relativistic")
    assert torch.allclose(loss.discriminator(real, fake), loss.discriminator(real + 7, fake + 7))
    assert torch.allclose(loss(fake, real), loss(fake + 7, real + 7))
    assert torch.equal(loss.discriminator(real, fake), softplus(fake - real))


def test_relativistic_needs_real_samples() -> None:
    with pytest.raises(ConfigError, match="needs the logits of real samples too, but it was given none"):
        game("relativistic")(torch.zeros(2))


@pytest.mark.parametrize("name", GAMES)
def test_a_map_of_logits_counts_as_its_mean(name: str) -> None:
    real, fake = torch.randn(2, 3, 4, 4)
    flat = game(name).discriminator(real.reshape(-1), fake.reshape(-1)).reshape(3, -1).mean(1)
    assert torch.allclose(game(name).discriminator(real, fake), flat)


@pytest.mark.parametrize("name", GAMES)
def test_logits_of_two_shapes_are_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\[4, 1\].*\[4\]"):
        game(name).discriminator(torch.zeros(4, 1), torch.zeros(4))


def test_bounded_hinge_ends_where_the_discriminator_is_fooled() -> None:
    logits = torch.tensor([-1.0, 0.0, 1.0, 5.0])
    assert game("gan_hinge", bounded=True)(logits).tolist() == [2.0, 1.0, 0.0, 0.0]


def test_least_squares_needs_two_labels() -> None:
    with pytest.raises(ConfigError, match="must differ, but both are 1"):
        game("least_squares", fake=1.0)

"""A person's own game in Lightning's manual optimisation, with a balancer for the generator's losses."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from autoloss import Balancer
from autoloss.core.registry.lookup import registry
from tests.trainers import quiet_trainer

# The perceptual network is frozen on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:.*in eval mode at the start of training.*")


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.last = nn.Sequential(nn.Linear(4, 16), nn.ReLU()), nn.Linear(16, 9)

    def forward(self, code):
        return self.last(self.body(code)).view(-1, 1, 3, 3)


def eye():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Conv2d(4, 4, 2))


class Autoencoder(pl.LightningModule):
    """Quantised codes, a perceptual loss, an adversary, a commitment loss that never sees the decoder."""

    def __init__(self, weighting, anchor, **options):
        super().__init__()
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), Decoder()
        self.discriminator = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        self.book = nn.Parameter(torch.randn(4))
        self.game = registry.build("loss", "gan_hinge")
        self.perceptual = registry.build("loss", "perceptual", network=eye(), layers=["0", "2"])
        self.balancer = Balancer(
            ["rec", "perc", "adv", "commit"],
            weighting,
            base={"commit": 0.25},
            groups={"nll": ["rec", "perc"]},
            unbalanced=["commit"],
            **options,
        )
        self.anchor, self.pulls = anchor, []

    def configure_optimizers(self):
        mine = [*self.encoder.parameters(), *self.decoder.parameters(), self.book]
        return torch.optim.Adam(mine, 1e-3), torch.optim.Adam(self.discriminator.parameters(), 1e-3)

    def training_step(self, batch, at):
        of_generator, of_discriminator = self.optimizers()
        code = self.encoder(batch)
        nearest = (code - self.book).round() + self.book
        fake = self.decoder(code + (nearest - code).detach())
        self.toggle_optimizer(of_generator)
        losses = {
            "rec": (fake - batch).abs().flatten(1).mean(1),
            "perc": self.perceptual(fake, batch),
            "adv": self.game(self.discriminator(fake)),
            "commit": (code - nearest.detach()).square().mean(1),
        }
        anchor = self.decoder.last.weight if self.anchor == "last" else fake
        total = self.balancer(losses, anchor=anchor)
        self.note({name: values.mean() for name, values in losses.items()}, anchor, total)
        of_generator.zero_grad()
        self.manual_backward(total)
        of_generator.step()
        self.untoggle_optimizer(of_generator)
        loss = self.game.discriminator(self.discriminator(batch), self.discriminator(fake.detach())).mean()
        of_discriminator.zero_grad()
        self.manual_backward(loss)
        of_discriminator.step()

    def note(self, losses, anchor, total):
        def pull(loss):
            (found,) = torch.autograd.grad(loss, anchor, retain_graph=True)
            return found.norm() if self.anchor == "last" else found.flatten(1).norm(dim=1).mean()

        kept = {name: loss.detach() for name, loss in losses.items()}
        pulls = pull(losses["rec"] + losses["perc"]), pull(losses["adv"])
        self.pulls.append((*pulls, dict(self.balancer.weights), kept, total.detach()))


def fitted(module, epochs=3):
    trainer = quiet_trainer(max_epochs=epochs, log_every_n_steps=1)
    torch.manual_seed(1)
    trainer.fit(module, DataLoader(torch.rand(32, 1, 3, 3), batch_size=8))
    return module


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_vqgan_follows_the_authors_formula(factor):
    module = Autoencoder({"name": "vqgan", "weight": 0.8, "delta": 0.0}, "last")
    game = module.game.forward
    module.game.forward = lambda *given: factor * game(*given)
    for nll, adv, weights, losses, total in fitted(module).pulls:
        assert weights["rec"] == weights["perc"] == 1
        assert weights["commit"] == 0.25
        assert weights["adv"] == pytest.approx(0.8 * float(nll / adv), rel=1e-4)
        by_hand = losses["rec"] + losses["perc"] + weights["adv"] * losses["adv"] + 0.25 * losses["commit"]
        assert float(total) == pytest.approx(float(by_hand), rel=1e-5)


def test_vqgan_leaves_the_adversary_out_until_its_step():
    module = fitted(Autoencoder({"name": "vqgan", "start": 5}, "last"))
    weights = [weights["adv"] for _, _, weights, _, _ in module.pulls]
    assert weights[:5] == [0] * 5
    assert all(weight > 0 for weight in weights[5:])


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_balancer_gives_each_its_share_of_the_output_s_gradient(factor):
    shares = {"nll": 3.0, "adv": 1.0}
    module = Autoencoder({"name": "balancer", "shares": shares, "decay": 0.0}, "output")
    game = module.game.forward
    module.game.forward = lambda *given: factor * game(*given)
    for nll, adv, weights, _, _ in fitted(module).pulls:
        assert weights["rec"] == weights["perc"]
        assert weights["commit"] == 0.25
        assert weights["rec"] * float(nll) == pytest.approx(0.75, rel=1e-4)
        assert weights["adv"] * float(adv) == pytest.approx(0.25, rel=1e-4)

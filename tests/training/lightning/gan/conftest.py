"""A GAN for points of four numbers, small enough to be written out by hand."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from autoloss.core.gan.gan_problem import GanProblem, Generated
from autoloss.core.problem import Inputs, Outputs, Term, Verdict
from autoloss.losses.mse import Mse
from autoloss.losses.non_saturating import NonSaturating
from autoloss.losses.r1 import R1
from autoloss.problems._tensors import TensorTable
from autoloss.training.lightning.gan.module import GanModule
from autoloss.training.lightning.gan.player import PlayerOptions
from autoloss.training.lightning.loaders import loader
from autoloss.training.step.build import build_weighting


class Points(GanProblem):
    """Points around (1, 1, 1, 1) from two random numbers."""

    terms = {"adv": "non_saturating", "near": "mse"}
    discriminator_terms = {"adv": None, "penalty": "r1"}
    metrics = {"distance": "min", "bias": "min"}

    def datasets(self, seed):
        x = 1 + 0.1 * torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
        return {"train": TensorTable(x=x), "val": TensorTable(x=x[:8]), "test": TensorTable(x=x[:8])}

    def network(self):
        return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4))

    def discriminator(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def generate(self, network, batch):
        return Generated(self.made(network, len(batch["x"])))

    def generator_outputs(self, network, discriminator, generated, batch):
        copies, anchor = self.branch(generated.samples)
        verdict = Verdict(lambda: discriminator(batch["x"]), discriminator(copies["adv"]))
        return Outputs({"adv": verdict, "near": Term(copies["near"], batch["x"])}, anchor=anchor)

    def discriminator_outputs(self, discriminator, generated, batch):
        verdict = Verdict(discriminator(batch["x"]), discriminator(generated.samples))
        return Outputs({"adv": verdict, "penalty": Inputs(discriminator, batch["x"], generated.samples)})

    def outputs(self, network, batch):
        return Outputs({"near": Term(self.generate(network, batch).samples, batch["x"])})

    def measure(self, outputs):
        term = outputs.term("near")
        return {"distance": (term.prediction - term.target).square().mean(1)}

    def evaluate(self, network, real):
        return {"bias": float((self.made(network, 64).float().mean(0) - real.columns["x"].mean(0)).norm())}

    def gallery(self, network):
        return self.made(network, 6).view(2, 3, 2, 2).sigmoid()

    def made(self, network, number):
        like = network[0].weight
        return network(torch.randn(number, 2, device=like.device, dtype=like.dtype))


def options(player, weighting="equal", **more):
    game = more.pop("game", NonSaturating())
    losses = {"adv": game, "near": Mse()} if player == "generator" else {"adv": game, "penalty": R1(gamma=0.5)}
    optimizer = more.pop("optimizer", partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.9)))
    return PlayerOptions({**losses, **more.pop("losses", {})}, build_weighting(weighting), optimizer, **more)


def module(problem=None, generator=None, discriminator=None, **more):
    pl.seed_everything(0, verbose=False)
    return GanModule(
        problem or Points(), generator or options("generator"), discriminator or options("discriminator"), **more
    )


def fit(game, epochs=2, batch_size=8, callbacks=(), checkpoint=None, directory=None, **trainer):
    data = game.problem.datasets(0)
    flags = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "log_every_n_steps": 1,
        "enable_checkpointing": False,
        **trainer,
    }
    if directory is not None:
        flags |= {"default_root_dir": str(directory)}
    found = pl.Trainer(
        max_epochs=epochs,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **flags,
    )
    found.fit(game, loader(data["train"], batch_size, 0, True), loader(data["val"], 8, 0, False), ckpt_path=checkpoint)
    return found


@pytest.fixture
def points():
    return Points


@pytest.fixture
def play():
    """``play.module``, ``play.options`` and ``play.fit``."""

    class Play:
        pass

    Play.module, Play.options, Play.fit = staticmethod(module), staticmethod(options), staticmethod(fit)
    return Play

"""GANs: how good the samples are, what their weightings keep constant, and what a step costs.

`python benchmarks/gan.py > benchmarks/results/gan.md`

``quality``: `digits_gan` with its defaults, three seeds, beside real digits and class means. ``shares``: the shares of
the gradient at the anchor on `digits_vae_gan`, with each loss as it is and times 1000. ``cost``: a step of the module
beside the same two updates written by hand, taking turns in one process.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from gan_quality import quality
from torch import Tensor, nn
from torch.nn.functional import softplus

from autoloss.app.composition import composed
from autoloss.app.prepare import prepare
from autoloss.core.gan.gan_problem import GanProblem, Generated
from autoloss.core.problem import Inputs, Outputs, Term, Verdict
from autoloss.losses.mae import Mae
from autoloss.losses.non_saturating import NonSaturating
from autoloss.losses.r1 import R1
from autoloss.problems._tensors import TensorTable
from autoloss.training.lightning.gan.module import GanModule
from autoloss.training.lightning.gan.player import PlayerOptions
from autoloss.training.lightning.loaders import loader
from autoloss.training.record.cadence import Cadence
from autoloss.weightings.equal import Equal

FACTOR = 1000.0


class Pulls(pl.Callback):
    """Notes the generator's weights and gradients at the anchor, after a while."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.seen: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Also for weightings that measure nothing.
        pl_module.player.watch_gradients(Cadence(1, dense=10**9))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        weighed = pl_module.player.weighed
        if pl_module.batches > self.after:
            measured = weighed.probed or weighed.measured
            self.seen.append((weighed.weights, measured.norms(), measured.gram))


ASKED = {
    "equal": (["weighting=equal"], "rec : adv : match", None),
    "balancer": (
        ["weighting=balancer", "weighting.decay=0.9", "++weighting.shares.rec=2"],
        "rec : adv : match = 2 : 1 : 1",
        (0.5, 0.25, 0.25),
    ),
    "balancer, decay 0.999 (no bar)": (
        ["weighting=balancer", "++weighting.shares.rec=2"],
        "rec : adv : match = 2 : 1 : 1",
        (0.5, 0.25, 0.25),
    ),
    "vqgan": (
        ["weighting=vqgan", "weighting.weight=0.5", "problem.anchor=last_layer"],
        "others : adv = 2 : 1",
        (2 / 3, 1 / 3),
    ),
}
REC, KL, ADV, MATCH = range(4)


def shares(epochs: int) -> bool:
    """Print the shares of the gradient with one loss rescaled; whether they stay where the bar wants them."""
    print(f"digits_vae_gan, seed 0, {epochs} epochs, shares of the weighted gradients' norms at the anchor, mean over")
    print("the second half: by item at the output for balancer, of the whole at the last layer's weight for vqgan\n")
    print("| weighting | shares of | as it is | adv x 1000 | rec x 1000 | match x 1000 | furthest off |")
    print("|---|---|---|---|---|---|---|")
    off = {}
    for name, (overrides, of, wanted) in ASKED.items():
        rows = [found(name, overrides, scaled, epochs) for scaled in (None, "adv", "rec", "match")]
        off[name] = max(abs(x / w - 1) for row in rows for x, w in zip(row, wanted or rows[0], strict=True))
        cells = [" : ".join(f"{x:.3g}" for x in row) for row in rows]
        print(f"| {name} | {of} | " + " | ".join(cells) + f" | {100 * off[name]:.2g} % |", flush=True)
    print("\nEqual weights: off from what they are without rescaling. The balancer promises shares of moving averages:")
    print(
        "with the paper's decay of 0.999 these lag a thousand steps behind gradients that change in a short training,"
    )
    print("whatever a loss is multiplied with; with 0.9 they follow.")
    return off["balancer"] <= 0.1 and off["vqgan"] <= 0.1 < off["equal"]


def found(name: str, overrides: list[str], scaled: str | None, epochs: int) -> list[float]:
    """The shares in a training with the loss ``scaled`` times 1000."""
    settings = ["problem=digits_vae_gan", f"trainer.max_epochs={epochs}", *overrides]
    config = composed("train", settings)
    pl.seed_everything(0, verbose=False)
    module = prepare(config).module()
    if scaled is not None:
        loss = module.generator_player.losses[scaled]
        # Only the generator's losses: those of the discriminator stay as they were.
        loss.forward = partial(times, loss.forward, FACTOR)
    pulls = Pulls(after=5 * epochs)
    fit(module, config["batch_size"], [pulls], **config["trainer"])
    rows = []
    for weights, norms, gram in pulls.seen:
        pull = weights * norms
        if name == "vqgan":
            assert gram is not None
            w = weights[[REC, MATCH]]
            others = (w @ gram[[REC, MATCH]][:, [REC, MATCH]] @ w).sqrt()
            rows.append(torch.stack([others, pull[ADV]]))
        else:
            rows.append(pull[[REC, ADV, MATCH]])
    mean = torch.stack(rows).mean(0)
    return (mean / mean.sum()).tolist()


def times(forward: Callable[..., Tensor], factor: float, *given: Any) -> Tensor:
    """A loss times a number."""
    return factor * forward(*given)


def fit(module: GanModule, batch_size: int, callbacks: list[pl.Callback], **flags: Any) -> None:
    """Train ``module`` without records or validation."""
    trainer = pl.Trainer(
        **{**flags, "limit_val_batches": 0},
        logger=False,
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, loader(module.problem.datasets(0)["train"], batch_size, 0, True))


class Pictures(GanProblem):
    """Images of 32 x 32 pixels, and the networks of a small DCGAN: adversarial and pixel losses."""

    terms = {"adv": "non_saturating", "near": "mae"}
    discriminator_terms = {"adv": None, "penalty": "r1"}
    side = 32

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        """Noise is enough: the time is the same."""
        return {"train": TensorTable(image=torch.rand(64 * 200, 1, self.side, self.side))}

    def network(self) -> nn.Module:
        layers: list[nn.Module] = [nn.Linear(32, 64 * 16), nn.Unflatten(1, (64, 4, 4)), nn.ReLU()]
        for wide, narrow in ((64, 32), (32, 16)):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid())

    def discriminator(self) -> nn.Module:
        layers: list[nn.Module] = []
        for narrow, wide in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 1))

    def generate(self, network: nn.Module, batch: Any) -> Generated:
        return Generated(network(torch.randn(len(batch["image"]), 32)))

    def generator_outputs(
        self, network: nn.Module, discriminator: nn.Module, generated: Generated, batch: Any
    ) -> Outputs:
        verdict = Verdict(lambda: discriminator(batch["image"]), discriminator(generated.samples))
        return Outputs({"adv": verdict, "near": Term(generated.samples, batch["image"])}, generated.samples)

    def discriminator_outputs(self, discriminator: nn.Module, generated: Generated, batch: Any) -> Outputs:
        verdict = Verdict(discriminator(batch["image"]), discriminator(generated.samples))
        return Outputs({"adv": verdict, "penalty": Inputs(discriminator, batch["image"], generated.samples)})


class Turns(pl.Callback):
    """Times a step of the module and then one by hand, batch after batch."""

    def __init__(self, hand: Callable[[Tensor], None]) -> None:
        self.hand, self.begun = hand, 0.0
        self.seconds: list[tuple[float, float]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, at: int) -> None:
        self.begun = time.process_time()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, out: Any, batch: Any, at: int
    ) -> None:
        done = time.process_time()
        self.hand(batch["image"])
        self.seconds.append((done - self.begun, time.process_time() - done))


def by_hand(problem: Pictures) -> Callable[[Tensor], None]:
    """The same two updates, as a textbook has them."""
    g, d = problem.network(), problem.discriminator()
    of_g, of_d = (torch.optim.Adam(net.parameters(), 1e-3) for net in (g, d))

    def step(images: Tensor) -> None:
        fake = g(torch.randn(len(images), 32))
        at = images.clone().requires_grad_()
        loss = (softplus(-d(images)) + softplus(d(fake.detach()))).mean()
        (slope,) = torch.autograd.grad(d(at).sum(), at, create_graph=True)
        of_d.zero_grad()
        (loss + 0.5 * slope.square().flatten(1).sum(1).mean()).backward()
        of_d.step()
        d.requires_grad_(False)
        loss = softplus(-d(fake)).mean() + (fake - images).abs().mean()
        of_g.zero_grad()
        loss.backward()
        of_g.step()
        d.requires_grad_(True)

    return step


class Perceptrons(Pictures):
    """The same game with networks so small that what a step costs is not computation."""

    side = 8

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 64), nn.Unflatten(1, (1, 8, 8)))

    def discriminator(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))


def cost() -> bool:
    """Print what a step costs beside two updates by hand; whether that is within the bar."""
    print("batch 64, r1, Adam, weighting equal, CPU time on one thread; Lightning's hooks are the module's cost\n")
    print("| networks | by hand | module | ratio (median of each turn's) |")
    print("|---|---|---|---|")
    ratios = []
    for name, problem in (("DCGAN, 32 x 32", Pictures()), ("two layers, 8 x 8 (no bar)", Perceptrons())):
        torch.manual_seed(0)
        game, optimizer = NonSaturating(), partial(torch.optim.Adam, lr=1e-3)
        module = GanModule(
            problem,
            PlayerOptions({"adv": game, "near": Mae()}, Equal(), optimizer),
            PlayerOptions({"adv": game, "penalty": R1(gamma=1.0)}, Equal(), optimizer),
        )
        turns = Turns(by_hand(problem))
        fit(module, 64, [turns], max_epochs=1, accelerator="cpu")
        mine, theirs = zip(*turns.seconds[20:], strict=True)
        ratios.append(median(a / b for a, b in turns.seconds[20:]))
        print(
            f"| {name} | {1e3 * median(theirs):.2f} ms | {1e3 * median(mine):.2f} ms | {ratios[-1]:.3f} |", flush=True
        )
    return ratios[0] <= 1.15


def main() -> None:
    """Print what is asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["quality", "shares", "cost"])
    parser.add_argument("--epochs", type=int, default=60, help="of each training for the shares")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    parts = {"quality": quality, "shares": partial(shares, options.epochs), "cost": cost}
    print("# The GAN problems\n")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread\n")
    for name in options.parts:
        print(f"## {name}\n")
        print(f"\n{'Within' if parts[name]() else 'NOT within'} the bars.\n", flush=True)


if __name__ == "__main__":
    main()

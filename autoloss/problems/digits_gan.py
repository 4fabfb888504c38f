"""A class-conditional GAN of real digits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.gan.gan_problem import Generated
from autoloss.core.problem import Outputs, Term, Verdict
from autoloss.problems._digit_games import Decoder, DigitGame, contested, once
from autoloss.problems._tensors import Batch


class DigitsGan(DigitGame):
    """Draws scikit-learn's 8 x 8 digits of a given class from noise.

    The generator has the losses ``adv`` (the discriminator should take its digits for real) and ``cls`` (the
    discriminator should see the class that was asked for); the discriminator has ``adv``, ``cls`` on real digits,
    and ``penalty`` (r1). Metrics on samples of the moving average of the generator: ``frechet``, ``class_error``;
    ``deviation`` beside them.

    Args:
        noise: random numbers for each digit, at least 1.
    """

    terms = {"adv": "non_saturating", "cls": "cross_entropy"}
    module = "gan"
    discriminator_terms = {"adv": None, "cls": "cross_entropy", "penalty": "r1"}
    metrics = {"frechet": "min", "class_error": "min"}
    recipe = {
        "optimizer": {"lr": 0.001},
        "discriminator": {"optimizer": {"lr": 0.001}},
        "batch_size": 100,
        "threads": 1,
        "trainer": {"max_epochs": 200, "check_val_every_n_epoch": 10},
        "checkpoint": {"every": 10},
    }
    use = "A first GAN: real data, a short training, and a distance that shows missing diversity."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; Odena et al.: AC-GAN, 2017, arXiv:1610.09585"

    def __init__(self, noise: int = 32) -> None:
        super().__init__()
        require(noise >= 1, "`noise` must be at least 1", f"noise={noise}")
        self.noise = noise

    def network(self) -> nn.Module:
        return Decoder(self.noise)

    def sampled(self, network: nn.Module, labels: Tensor) -> Tensor:
        return network(torch.randn(len(labels), self.noise, device=labels.device), labels)

    def generate(self, network: nn.Module, batch: Batch) -> Generated:
        return Generated(self.sampled(network, batch["label"]))

    def generator_outputs(
        self, network: nn.Module, discriminator: nn.Module, generated: Generated, batch: Batch
    ) -> Outputs:
        labels = batch["label"]
        judge = once(lambda images: discriminator(images, labels))
        copies, anchor = self.branch(generated.samples)
        return Outputs(
            {
                "adv": Verdict(lambda: discriminator(batch["image"], labels).logit, judge(copies["adv"]).logit),
                "cls": Term(judge(copies["cls"]).classes, labels),
            },
            anchor=anchor,
        )

    def discriminator_outputs(self, discriminator: nn.Module, generated: Generated, batch: Batch) -> Outputs:
        said, terms = contested(discriminator, batch, generated.samples)
        labels = batch["label"]
        return Outputs({**terms, "cls": Term(said.classes[: len(labels)], labels)}, anchor=said.layers[-1])

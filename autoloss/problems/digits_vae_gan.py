"""A variational autoencoder of real digits that also has to fool a discriminator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from autoloss.core.errors import require
from autoloss.core.gan.gan_problem import Generated
from autoloss.core.problem import Layers, Outputs, Term, Verdict
from autoloss.core.table import Anchor
from autoloss.problems._digit_games import CLASSES, SIDE, Decoder, DigitGame, contested, once
from autoloss.problems._tensors import Batch

ANCHORS = ("output", "last_layer")


class _Autoencoder(nn.Module):
    """An encoder 74-256 to the mean and log-variance of a code, and a :class:`Decoder`."""

    def __init__(self, noise: int, width: int = 256) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(SIDE * SIDE + CLASSES, width), nn.LeakyReLU(0.2), nn.Linear(width, 2 * noise)
        )
        self.decoder = Decoder(noise, width)

    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        known = torch.cat([2 * images.flatten(1) - 1, one_hot(labels, CLASSES).to(images.dtype)], 1)
        mean, log_variance = self.encoder(known).chunk(2, 1)
        return mean, log_variance


class DigitsVaeGan(DigitGame):
    """Encodes and draws scikit-learn's 8 x 8 digits: four losses of different scales.

    ``rec`` (pixels of the reconstruction), ``kl`` (the code's divergence from a standard normal, in nats),
    ``adv`` (digits from noise should be taken for real) and ``match`` (the discriminator should see in a
    reconstruction what it sees in its digit). The discriminator has ``adv`` and ``penalty`` (r1).
    Metrics: ``rec_mse``; and on digits from noise ``frechet``, ``class_error``, with ``deviation`` beside them.

    Args:
        noise: size of the code, at least 1.
        anchor: where gradients are compared: at the decoder's ``output`` (as EnCodec's balancer does) or at the
            weight of its ``last_layer`` (as VQGAN does). ``kl`` reaches neither and keeps its base weight.
    """

    terms = {"rec": "mse", "kl": "gaussian_kl", "adv": "non_saturating", "match": "feature_matching"}
    module = "gan"
    discriminator_terms = {"adv": None, "penalty": "r1"}
    metrics = {"rec_mse": "min", "frechet": "min", "class_error": "min"}
    recipe = {
        "base": {"kl": 0.001},
        "optimizer": {"lr": 0.001},
        "discriminator": {"optimizer": {"lr": 0.001}},
        "batch_size": 100,
        "threads": 1,
        "trainer": {"max_epochs": 200, "check_val_every_n_epoch": 10},
        "checkpoint": {"every": 10},
    }
    use = "Balancing a generator: reconstruction against an adversary."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; Larsen et al., ICML 2016, arXiv:1512.09300"

    def __init__(self, noise: int = 16, anchor: str = "output") -> None:
        super().__init__()
        require(noise >= 1, "`noise` must be at least 1", f"noise={noise}")
        require(anchor in ANCHORS, f"`anchor` must be one of {', '.join(ANCHORS)}", f"anchor={anchor!r}")
        self.noise, self.anchor = noise, anchor

    def network(self) -> nn.Module:
        return _Autoencoder(self.noise)

    def sampled(self, network: nn.Module, labels: Tensor) -> Tensor:
        return network.decoder(torch.randn(len(labels), self.noise, device=labels.device), labels)  # type: ignore[operator]

    def generate(self, network: nn.Module, batch: Batch) -> Generated:
        mean, log_variance = network.encode(batch["image"], batch["label"])  # type: ignore[operator]
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        codes, labels = torch.cat([code, torch.randn_like(code)]), batch["label"].repeat(2)
        decoded = network.decoder(codes, labels)  # type: ignore[operator]
        return Generated(decoded[len(code) :], {"decoded": decoded, "code": torch.cat([mean, log_variance], 1)})

    def generator_outputs(
        self, network: nn.Module, discriminator: nn.Module, generated: Generated, batch: Batch
    ) -> Outputs:
        real, labels, of = batch["image"], batch["label"], generated.extra
        judge = once(lambda images: discriminator(images, labels))
        halves = once(lambda decoded: decoded.chunk(2))
        copies, anchor = self.branch(of["decoded"])
        with torch.no_grad():
            wanted = discriminator(real, labels)
        return Outputs(
            {
                "rec": Term(halves(copies["rec"])[0].flatten(1), real.flatten(1)),
                "kl": Term(of["code"], torch.zeros_like(of["code"])),
                "adv": Verdict(wanted.logit, judge(halves(copies["adv"])[1]).logit),
                "match": Layers(judge(halves(copies["match"])[0]).layers, wanted.layers),
            },
            anchor=self._anchor(network, anchor),
        )

    def discriminator_outputs(self, discriminator: nn.Module, generated: Generated, batch: Batch) -> Outputs:
        said, terms = contested(discriminator, batch, generated.samples)
        return Outputs(terms, anchor=said.layers[-1])

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        mean, _ = network.encode(batch["image"], batch["label"])  # type: ignore[operator]
        decoded = network.decoder(mean, batch["label"])  # type: ignore[operator]
        return Outputs({"rec": Term(decoded.flatten(1), batch["image"].flatten(1))})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        term = outputs.term("rec")
        return {"rec_mse": (term.prediction - term.target).square().mean(1)}

    def _anchor(self, network: nn.Module, samples: Anchor) -> Anchor:
        # Where gradients meet in a fork, that is the anchor.
        if self.anchor == "output" or not isinstance(samples, Tensor):
            return samples
        return network.get_parameter("decoder.last.weight")

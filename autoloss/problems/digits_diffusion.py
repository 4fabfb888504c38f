"""A diffusion model of real digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoloss.core.errors import require, unknown
from autoloss.core.problem import Outputs, Pictures, Problem, Term
from autoloss.problems._denoising import Denoiser, cleaned, descending, levels, sampled, shares, wanted
from autoloss.problems._digit_classifier import digit_classifier
from autoloss.problems._digits import part
from autoloss.problems._frechet import frechet_of_moments, moments
from autoloss.problems._tensors import Batch, TensorTable, folds
from autoloss.sample_weightings._noise import TARGETS

CLASSES, SIDE, JUDGED = 10, 8, 1000
MEAN, SCALE = 0.3, 0.75  # of the pixels; (pixel - MEAN) / SCALE has a deviation of 0.5, as EDM's data
SAMPLERS = ("ddim", "heun")
ENDS = (0.003, 0.997)  # the shares of the schedule's levels between which pictures are made


class DigitsDiffusion(Problem):
    """Draws scikit-learn's 8 x 8 digits of a given class, by taking noise away step by step.

    The one loss, ``noise``, is the error of what the network predicts (``target``) at noise levels that are drawn from
    a ``schedule``. Which levels count how much is up to ``sample_weighting``: each sample has the key ``level``,
    sigma over alpha. Levels and noise are drawn once, with the run's seed, ``draws`` for each of the 1000 training
    digits; an epoch has them all. Metrics, on about a thousand digits that are made of the same noise each time:
    ``frechet`` (in the features of a classifier, against validation digits) and ``class_error`` (how often the
    classifier sees another class than was asked for). With few draws the network remembers them.

    Args:
        target: what the network predicts: ``epsilon`` (the noise), ``x0`` (the digit) or ``v``.
        schedule: of the levels in training: ``cosine``, ``linear`` (DDPM's) or ``edm`` (log-normal).
        sampler: ``ddim``, or ``heun``, which calls the network twice in a step.
        steps: of the sampler, at least 2.
        draws: levels and noise for each training digit, at least 1.
        width: of the network's three layers, at least 1.
    """

    terms = {"noise": "mse"}
    metrics = {"frechet": "min", "class_error": "min"}
    predicts: str = "epsilon"
    recipe = {"optimizer": {"lr": 0.001}, "batch_size": 128, "threads": 1, "trainer": {"max_epochs": 6}}
    use = "Trying weights of noise levels: a diffusion model on real data that trains in a minute."
    avoid = "Several losses should be balanced: it has one."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; Ho, Jain, Abbeel: DDPM, NeurIPS 2020; Karras \
et al.: EDM, NeurIPS 2022, arXiv:2206.00364"

    def __init__(
        self,
        target: str = "epsilon",
        schedule: str = "cosine",
        sampler: str = "ddim",
        steps: int = 25,
        draws: int = 50,
        width: int = 256,
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise unknown("target of a denoiser", target, TARGETS)
        if sampler not in SAMPLERS:
            raise unknown("sampler", sampler, SAMPLERS)
        levels(schedule, torch.zeros(1))  # raises for a schedule that does not exist
        require(steps >= 2, "`steps` must be at least 2", f"steps={steps}")
        require(draws >= 1, "`draws` must be at least 1", f"draws={draws}")
        require(width >= 1, "`width` must be at least 1", f"width={width}")
        self.predicts, self.schedule, self.sampler, self.steps = target, schedule, sampler, steps
        self.draws, self.width = draws, width

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        return {
            "train": self._noised(*part("train"), self.draws, seed),
            "val": self._judged(*part("val"), 1_000_003 + seed),
            "test": self._judged(*part("test"), 2_000_003 + seed),
        }

    def folds(self, count: int, seed: int) -> list[Mapping[str, TensorTable]]:
        """The datasets of a ``count``-fold cross-validation; each digit is validated on once."""
        images, labels = (torch.cat(both) for both in zip(part("train"), part("val"), strict=True))
        test = self._judged(*part("test"), 2_000_003 + seed)
        return [
            {
                "train": self._noised(images[train], labels[train], self.draws, seed),
                "val": self._judged(images[val], labels[val], 1_000_003 + seed),
                "test": test,
            }
            for train, val in folds(torch.arange(len(images)), count, seed)
        ]

    def hold_out(self, train: Dataset[Any], share: float, seed: int) -> tuple[TensorTable, TensorTable]:
        """All draws of a ``share`` of the digits, and those of the others."""
        assert isinstance(train, TensorTable)
        source = train.columns["digit"]
        digits = source.unique()
        order = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))]
        held = torch.isin(source, order[: max(1, round(share * len(digits)))])
        kept, out = (
            {name: column[rows] for name, column in train.columns.items() if name != "index"} for rows in (~held, held)
        )
        return (
            TensorTable(**kept, index=torch.arange(len(kept["digit"]))),
            TensorTable(**out, index=torch.arange(len(out["digit"]))),
        )

    def network(self) -> nn.Module:
        return Denoiser(SIDE * SIDE, CLASSES, self.width)

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        clean, noise, labels, level = (batch[name] for name in ("image", "noise", "label", "level"))
        alpha, sigma = shares(level.unsqueeze(1))
        copies, anchor = self.branch(network(alpha * clean + sigma * noise, level, labels))
        prediction = network.head(copies["noise"])  # type: ignore[operator]
        term = Term(prediction, wanted(self.predicts, clean, noise, level.unsqueeze(1)))
        extra = self._judge(network, batch) if "judged" in batch else {}
        return Outputs({"noise": term}, anchor, extra, batch["index"], {"level": level, "digit": labels})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """How often the classifier is wrong; empty for training data, from which nothing is made."""
        return {"class_error": outputs.extra["wrong"].float() if outputs.extra else torch.zeros(0)}

    def tally(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """The moments of the features of the digits that were made, and of real ones."""
        return {name: outputs.extra[name] for name in ("made", "real") if outputs.extra}

    def conclude(self, sums: Mapping[str, Tensor]) -> Mapping[str, float]:
        return {"frechet": frechet_of_moments(sums["made"].cpu(), sums["real"].cpu())}

    def pictures(self, network: nn.Module, batch: Batch) -> Pictures:
        """Eight digits of each class, a column for each; the same noise each time."""
        noise = torch.randn(8 * CLASSES, SIDE * SIDE, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(CLASSES).repeat(8).to(batch["label"].device)
        made = self.made(network, noise.to(batch["image"]), labels)
        return Pictures(made.view(8, CLASSES, SIDE, SIDE), [str(digit) for digit in range(CLASSES)])

    def predict(self, network: nn.Module, samples: Any) -> Tensor:
        """A new digit [B, 8, 8] of each of the classes ``samples`` [B], from noise of torch's generator."""
        labels = torch.as_tensor(samples)
        parameter = next(network.parameters())
        noise = torch.randn(len(labels), SIDE * SIDE).to(parameter)
        return self.made(network, noise, labels.to(parameter.device))

    def made(self, network: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """A digit [B, 8, 8] of each of the classes ``labels`` [B], from ``noise`` [B, 64] by the sampler."""
        lowest, highest = levels(self.schedule, torch.tensor(ENDS)).to(noise)

        def denoise(x: Tensor, level: Tensor) -> Tensor:
            seen, each = x * shares(level)[0], level.expand(len(x))
            said = network.head(network(seen, each, labels))  # type: ignore[operator]
            return cleaned(self.predicts, said, seen, level)

        made = sampled(denoise, noise, descending(lowest, highest, self.steps), self.sampler == "heun")
        return (made * SCALE + MEAN).clamp(0, 1).view(-1, SIDE, SIDE)

    def _judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """What a classifier, on the CPU, sees in digits made from a batch's noise and in its real ones."""
        labels = batch["label"]
        made = self.made(network, batch["noise"], labels)
        real = (batch["image"] * SCALE + MEAN).view(-1, SIDE, SIDE)
        classifier = digit_classifier()
        features, logits = classifier(made.float().cpu())
        of_real, _ = classifier(real.float().cpu())
        found = {"made": moments(features), "real": moments(of_real)}
        wrong = logits.argmax(1) != labels.cpu()
        return {name: of.float().to(labels.device) for name, of in {**found, "wrong": wrong}.items()}

    def _noised(self, images: Tensor, labels: Tensor, draws: int, seed: int) -> TensorTable:
        """``draws`` rows for each image: its standardised pixels [64], a level, and noise [64]."""
        generator = torch.Generator().manual_seed(seed)
        digit = torch.arange(len(images)).repeat(draws)
        return TensorTable(
            image=((images.flatten(1) - MEAN) / SCALE)[digit],
            label=labels[digit],
            digit=digit,
            level=levels(self.schedule, torch.rand(len(digit), generator=generator)),
            noise=torch.randn(len(digit), SIDE * SIDE, generator=generator),
            index=torch.arange(len(digit)),
        )

    def _judged(self, images: Tensor, labels: Tensor, seed: int) -> TensorTable:
        """About a thousand rows, each an image with a level and noise, from which a digit is made as well."""
        digit_classifier()  # what a fleet maps cannot make networks
        table = self._noised(images, labels, -(-JUDGED // len(images)), seed)
        return TensorTable(**table.columns, judged=torch.ones(len(table), dtype=torch.bool))

"""Data parameters: a temperature for each sample and each class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval


class DataParameters(SampleWeighting):
    """Divides each sample's logits by a temperature of its own that is learned: ``z_i / (s_i + s_class(i))``.

    The logarithms of the temperatures follow the loss by SGD with momentum, at the samples of the batch alone; they
    start at 0 and stay between log 1/20 and log 20. The temperature of a sample whose label the network cannot
    fit grows, which shrinks its gradient. All weights are 1: only the temperatures act. Logits are divided in
    training only.

    ``lr`` multiplies the derivative of the sample's own loss; the authors' code takes that of the batch's mean,
    which is smaller by the batch size. A sample is seen once an epoch: 10 suits some fifty epochs, a larger one
    suits fewer.

    Args:
        lr: learning rate of the samples' temperatures, at least 0.
        class_lr: learning rate of the classes' temperatures, at least 0; 0 leaves them out.
        momentum: in [0, 1).
        decay: weight decay of the logarithms, at least 0.
        classes: an upper bound on their number.
    """

    samples_log: Tensor
    samples_speed: Tensor
    classes_log: Tensor
    classes_speed: Tensor
    needs = SampleNeed.LOSSES | SampleNeed.INDEX | SampleNeed.LABELS | SampleNeed.SLOPES
    claims = frozenset({"non_increasing", "non_decreasing", "at_most_one", "mean_one"})
    search_space = {"lr": Interval(1.0, 100.0, log=True)}
    use = "Noisy labels and a data set that is seen many times: it learns which samples to distrust."
    avoid = "A sample is seen a few times only; outputs are no logits; the data are a stream without end."
    citation = "Saxena, Tuzel, DeCoste: Data parameters, NeurIPS 2019"

    def __init__(
        self,
        lr: float = 10.0,
        class_lr: float = 0.0,
        momentum: float = 0.9,
        decay: float = 0.0,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        require(lr >= 0, "`lr` must be at least 0", f"lr={lr}")
        require(class_lr >= 0, "`class_lr` must be at least 0", f"class_lr={class_lr}")
        require(0 <= momentum < 1, "`momentum` must lie in [0, 1)", f"momentum={momentum}")
        require(decay >= 0, "`decay` must be at least 0", f"decay={decay}")
        require(2 <= classes <= 10**8, "`classes` must lie between 2 and 1e8", f"classes={classes}")
        self.lr, self.class_lr, self.momentum, self.decay, self.classes = lr, class_lr, momentum, decay, classes

    def allocate(self, size: int) -> None:
        for name, number in (("samples", size), ("classes", self.classes if self.class_lr else 0)):
            self.add_state(f"{name}_log", torch.zeros(number))
            self.add_state(f"{name}_speed", torch.zeros(number))

    def temperature(self, samples: Samples) -> Tensor:
        hot = self.samples_log[samples.index].exp()
        return hot + self.classes_log[self._labels(samples)].exp() if self.class_lr else hot

    def forward(self, samples: Samples) -> Tensor:
        return torch.ones_like(samples.losses)

    def update(self, samples: Samples) -> None:
        slopes = samples.slopes.float().where(samples.present, 0.0)
        self._step(self.samples_log, self.samples_speed, self.lr, samples.index, slopes, samples.present)
        if self.class_lr:
            labels = self._labels(samples)
            self._step(self.classes_log, self.classes_speed, self.class_lr, labels, slopes, samples.present)

    def _step(self, log: Tensor, speed: Tensor, lr: float, rows: Tensor, slopes: Tensor, present: Tensor) -> None:
        """SGD with momentum on the rows of ``log`` that are ``present`` in the batch, by the mean of their slopes."""
        number = torch.zeros_like(log).index_add_(0, rows, present.float())[rows]
        slope = torch.zeros_like(log).index_add_(0, rows, slopes)[rows] / number.clamp(min=1)
        # A row that the batch holds twice is written twice, with the same numbers.
        here, old, bound = number > 0, log[rows], math.log(20)
        faster = self.momentum * speed[rows] + slope * old.exp() + self.decay * old
        speed[rows] = torch.where(here, faster, speed[rows])
        log[rows] = torch.where(here, (old - lr * faster).clamp(-bound, bound), old)

    def _labels(self, samples: Samples) -> Tensor:
        labels = samples.labels
        if labels.device.type == "cpu" and len(labels) and int(labels.max()) >= self.classes:
            raise ConfigError(
                f"A label must be below `classes`, {self.classes}, but one is {int(labels.max())}. "
                "Raise sample_weighting.classes."
            )
        return labels.clamp(max=self.classes - 1)

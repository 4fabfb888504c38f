"""Group DRO: the worst group counts most."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval


class GroupDro(SampleWeighting):
    """Weighs each group g by ``q_g``: ``q_g <- q_g e^(step L_g)``, then so that they sum to 1; L_g is its mean loss.

    The loss is ``sum_g q_g L_g``: a sample of a group with n_g of the batch's n samples weighs ``n q_g / n_g``. With
    ``adjustment`` C, ``L_g + C / sqrt(N_g)`` drives q, N_g the number of the group's samples in the data: small groups
    generalise worse than their training loss says.

    Args:
        step: how fast q follows, above 0; 0.01 in the paper. In units of one over the loss.
        key: the data's key of the groups, whole numbers from 0; the samples' classes if none is given.
        groups: how many groups there are. If it is given, one without samples in the first epoch is an error.
        adjustment: C, at least 0.

    Groups are those that have been seen; all start alike, and one that comes late starts with the largest q. A group
    without samples in a batch is a loss of 0 there, as in the authors' code: draw batches in which each group occurs.
    N_g is counted while training. Each rank takes its own groups' means. It needs strong weight decay or early
    stopping, as the paper says: a network that fits all samples has no worst group.
    """

    score: Tensor
    counts: Tensor
    search_space = {"step": Interval(1e-3, 1.0, log=True), "adjustment": Interval(0.0, 5.0)}
    use = "Groups are known, some are small or hard, and the worst of them counts."
    avoid = "Groups are noise or too small to average over; the network fits all training samples."
    citation = "Sagawa, Koh, Hashimoto, Liang: Distributionally robust neural networks, ICLR 2020, arXiv:1911.08731"

    def __init__(
        self, step: float = 0.01, key: str | None = None, groups: int | None = None, adjustment: float = 0.0
    ) -> None:
        super().__init__()
        require(step > 0, "`step` must be above 0", f"step={step}")
        require(key != "", "`key` must name a column of the data", f"key={key!r}")
        require(groups is None or 2 <= groups <= 10**6, "`groups` must lie between 2 and 1e6", f"groups={groups}")
        require(adjustment >= 0, "`adjustment` must be at least 0", f"adjustment={adjustment}")
        self.step, self.column, self.groups, self.adjustment = step, key, groups, adjustment
        self.follows = frozenset() if groups is None else frozenset({"epoch"})
        if key is None:
            self.needs = SampleNeed.LOSSES | SampleNeed.LABELS  # type: ignore[misc]  # of this one alone

    def allocate(self, size: int) -> None:
        number = self.groups or 1000
        self.add_state("score", torch.zeros(number))  # the logarithm of q, up to a constant
        self.add_state("counts", torch.zeros(number))

    def forward(self, samples: Samples) -> Tensor:
        group, score, _, number = self.remember(samples, self._moved)
        q = score.softmax(0)
        return (samples.count * q / number.clamp(min=1))[group]

    def update(self, samples: Samples) -> None:
        _, score, counts, _ = self.recall(samples, self._moved)
        known = counts > 0
        self.score.copy_(torch.where(known, score - score.amax(), 0.0).where(known.any(), 0.0))
        self.counts.copy_(counts)
        if self.groups is not None and samples.epoch > 0 and known.device.type == "cpu":
            _expect_samples(known)

    def _moved(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The samples' groups [B]; the score (-inf if never seen), counts so far and of this batch, [groups] each."""
        group, here = self._group(samples), samples.present.float()
        number = torch.zeros_like(self.counts).index_add(0, group, here)
        total = torch.zeros_like(self.counts).index_add(0, group, samples.losses.where(samples.present, 0.0))
        counts = self.counts + number
        loss = total / number.clamp(min=1)
        if self.adjustment:
            share = counts / counts.sum().clamp(min=1)
            sizes = share * self.size if self.size else counts
            loss = loss + torch.where(number > 0, self.adjustment / sizes.clamp(min=1).sqrt(), 0.0)
        score = self.score + self.step * loss
        known = counts > 0
        return group, score.where(known | ~known.any(), -torch.inf), counts, number

    def _group(self, samples: Samples) -> Tensor:
        given = samples.labels if self.column is None else samples.key(self.column)
        most = len(self.counts)
        if given.device.type == "cpu" and len(given):
            low, high = given.min(), given.max()
            if not (low >= 0 and high < most and bool((given == given.long()).all())):
                wrong = given[(given < 0) | (given >= most) | (given != given.long())][0]
                raise ConfigError(
                    f"A group must be a whole number from 0 to {most - 1}, but one is {float(wrong):g}. "
                    "Number the groups from 0, or raise sample_weighting.groups."
                )
        return given.long().clamp(0, most - 1)


def _expect_samples(known: Tensor) -> None:
    """An error if some groups had samples in the first epoch and others had none."""
    if bool(known.any()) and not bool(known.all()):
        raise ConfigError(
            f"Each of the {len(known)} groups must have samples, but group {int((~known).nonzero()[0])} had none in "
            "the first epoch. Lower sample_weighting.groups, or leave it out."
        )

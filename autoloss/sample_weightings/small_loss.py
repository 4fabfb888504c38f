"""The small-loss rule of co-teaching, for one network."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.sample_weightings.top_k import ROUNDING


class SmallLoss(SampleWeighting):
    """Trains on the ``R(t) n`` smallest losses of the batch, ``R(t) = 1 - rate min(t / ramp, 1)^power``.

    t is the epoch, from 0. The ``k = floor(R n)``, at least 1, chosen samples get ``n / k``, so that the loss is the
    mean over them (alg. 1). In the paper two networks choose for each other, so that a network confirms its own
    mistakes less; this is the form with one network. The paper's code raises ``rate`` instead of ``t / ramp`` to
    ``power``, which is the same for the default 1. Each rank chooses from its own samples.

    Args:
        rate: the share of samples that is left out in the end, in [0, 1): the rate of label noise, if it is known.
        ramp: epochs until that share is reached, at least 1.
        power: above 0.
    """

    claims = frozenset({"non_increasing", "mean_one", "scale_invariant"})
    search_space = {"rate": Interval(0.05, 0.6)}
    use = "Labels are wrong at a rate that is known or can be searched on clean validation data."
    avoid = "Labels are clean, or rare classes are hard: those are left out."
    citation = "Han et al.: Co-teaching, NeurIPS 2018, arXiv:1804.06872"

    def __init__(self, rate: float = 0.2, ramp: int = 10, power: float = 1.0) -> None:
        super().__init__()
        require(0 <= rate < 1, "`rate` must lie in [0, 1)", f"rate={rate}")
        require(ramp >= 1, "`ramp` must be at least 1", f"ramp={ramp}")
        require(power > 0, "`power` must be above 0", f"power={power}")
        self.follows = frozenset({"epoch"} if rate else ())
        self.rate, self.ramp, self.power = rate, ramp, power

    def kept(self, epoch: int) -> float:
        """R(t), the share that is kept in ``epoch``.

        >>> SmallLoss(rate=0.4, ramp=10).kept(5)
        0.8
        """
        return 1 - self.rate * min(epoch / self.ramp, 1.0) ** self.power

    def forward(self, samples: Samples) -> Tensor:
        # 1 - 0.4 may be 0.59999998: of 10 samples it must still keep 6, so that rounding does not lose one.
        chosen = (self.kept(samples.epoch) * (1 + ROUNDING) * samples.count).floor().clamp(min=1)
        return (samples.ranks() < chosen).float() * (samples.count / chosen)

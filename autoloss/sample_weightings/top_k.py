"""Online hard example mining."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.schedules.schedule import parse_schedule, varies
from autoloss.core.space import Interval

ROUNDING = 2e-7  # of a share times a number of samples, in float32


class TopK(SampleWeighting):
    """Trains on the hardest: the ``k = ceil(share * n)`` largest losses get ``n / k``, the others 0.

    So the loss is the mean over the chosen samples. Of equal losses the last in the batch are chosen. Each rank
    chooses from its own samples.

    Args:
        share: of the batch that is trained on, in (0, 1], a number or a schedule of progress (``linear(1,0.3)``).
    """

    claims = frozenset({"non_decreasing", "mean_one", "scale_invariant"})
    search_space = {"share": Interval(0.2, 0.9)}
    use = "Clean labels and many easy samples: detection, long-trained models, ranking."
    avoid = "Labels are noisy: it trains on the noise."
    citation = "Shrivastava, Gupta, Girshick: Online hard example mining, CVPR 2016, arXiv:1604.03540"

    def __init__(self, share: float | str = 0.5) -> None:
        super().__init__()
        self.share = parse_schedule(share)
        self.follows = frozenset({"progress"} if varies(self.share) else ())
        values = [self.share(i / 100) for i in range(101)]
        require(min(values) > 0 and max(values) <= 1, "`share` must lie in (0, 1]", f"share={share}")

    def forward(self, samples: Samples) -> Tensor:
        # 0.3 * 10 may be 3.0000002 in float32: of 10 samples it must still choose 3.
        chosen = (self.share(samples.progress) * (1 - ROUNDING) * samples.count).ceil()
        hardest = samples.ranks() >= samples.present.sum() - chosen
        return hardest.float() * (samples.count / chosen)

"""Soft optimal uncertainty weighting."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting


class UwSo(Weighting):
    """Weights each loss by a softmax of its inverse: ``w = K softmax(1 / (T L))``.

    The paper's weights sum to 1, these to the number K of present losses. The smaller loss gets the
    larger weight.

    Args:
        temperature: T, above 0, in units of 1 / loss: for losses times c take T / c. Larger is more
            even. The paper tunes it for each data set; 1 is a start for losses near 1.

    ``T L`` below 1e-20 counts as 1e-20.
    """

    claims = frozenset({"sums_to_count", "permutation_equivariant"})
    positive = True
    search_space = {"temperature": Interval(0.1, 100.0, log=True)}
    use = "Losses of similar scale, where a temperature can be searched for."
    avoid = "One loss is far below 1 / T: it takes all the weight. Scales change during training."
    citation = "Kirchdorfer et al.: Analytical uncertainty-based loss weighting, GCPR 2024, arXiv:2408.07985"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        self.temperature = temperature

    def forward(self, signals: Signals) -> Tensor:
        return signals.count * signals.softmax(1 / (self.temperature * signals.values).clamp(min=1e-20))

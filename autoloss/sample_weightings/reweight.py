"""Learning to reweight examples."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples


class Reweight(SampleWeighting):
    """Weighs each sample by how far a step down its gradient lowers the held-out loss; 0 where it does not.

    ``u_i = <grad L_held, grad l_i>`` at the parameters as they stand, and ``w_i = n max(u_i, 0) / sum_j
    max(u_j, 0)`` over the n present samples (eq. 8 to 10, whose virtual step starts at weights of 0, so that it
    does not move). Where no sample helps, all weights are 0 and the loss is 0.

    The held-out data must be clean or balanced where the training data are not; a few samples are enough.
    The problem chooses them in ``hold_out``. The authors differentiate twice through a virtual
    step; here one forward-mode pass gives the same numbers. The paper's weights sum to 1 and the losses are summed.
    """

    needs = SampleNeed.LOSSES | SampleNeed.ALIGNMENT
    claims = frozenset({"scale_invariant"})
    use = "Wrong labels or rare classes, and a few samples that are known to be right and balanced."
    avoid = "The held-out data are like the training data: then there is little to learn from them."
    citation = "Ren, Zeng, Yang, Urtasun: Learning to reweight examples, ICML 2018, arXiv:1803.09050"

    def forward(self, samples: Samples) -> Tensor:
        gain = samples.alignment.clamp(min=0).where(samples.present, 0.0)
        total = gain.sum()
        return torch.where(total > 0, gain / total, 0.0) * samples.count

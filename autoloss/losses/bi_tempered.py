"""The bi-tempered logistic loss."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import class_labels, probabilities
from autoloss.losses._shapes import same_shape, several_classes
from autoloss.losses._tempered import log_tempered_exp, tempered_log


class BiTempered(Loss):
    """``-log_t1 p_t - (1 - sum_c p_c^(2 - t1)) / (2 - t1)``, p the tempered softmax of t2: [B, C, ...] -> [B].

    ``log_t(x) = (x^(1-t) - 1) / (1 - t)``; ``p_c = exp_t2(z_c - m)`` with the inverse of log_t2 and the m for which
    they sum to 1. t1 = t2 = 1 is cross-entropy. Targets are classes [B, ...], or probabilities y [B, C, ...]:
    then ``sum_c y_c (log_t1 y_c - log_t1 p_c) - (y_c^(2 - t1) - p_c^(2 - t1)) / (2 - t1)``.

    Args:
        t1: in [0, 1]; below 1 the loss is bounded, so that samples far on the wrong side do not dominate.
        t2: at least 1; above 1 probabilities have heavy tails, so that wrong labels near the border do not move it.
        ignore_index: a label that is left out; none by default.

    m is found by Newton's method on ``(sum_c p_c)^(1 - t2)``, nearly a line in m, to rounding; the authors iterate a
    fixed point five times. It costs some eight cross-entropies. The authors also allow t2 below 1 (finite support),
    where gradients are exactly 0.
    """

    takes = ("classes", "pixels", "mixtures")
    search_space = {"t1": Interval(0.0, 1.0), "t2": Interval(1.0, 4.0)}
    use = "One class of several with wrong labels: of outliers (t1), of samples near the border (t2)."
    avoid = "Labels are clean and probabilities are needed: predict with the tempered softmax, or use cross_entropy."
    outliers = "A wrong label costs at most 1 / (1 - t1) or so."
    imbalance = "Each sample counts equally; a rare class may be taken for wrong labels when t1 is small."
    gradients = "Bounded; for t1 < 1 they vanish where the label's probability is nearly 0."
    citation = "Amid, Warmuth, Anil, Koren: Robust bi-tempered logistic loss, NeurIPS 2019, arXiv:1906.03361"

    def __init__(self, t1: float = 0.8, t2: float = 1.2, ignore_index: int | None = None) -> None:
        super().__init__()
        require(0 <= t1 <= 1, "`t1` must lie in [0, 1]", f"t1={t1}")
        require(t2 >= 1, "`t2` must be at least 1", f"t2={t2}")
        self.t1, self.t2, self.ignore_index = t1, t2, ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        bend, order, keep = 1 - self.t1, 2 - self.t1, None
        if target.is_floating_point() and target.dim() == prediction.dim():
            prediction, target = same_shape(prediction, target)
            probabilities(self, target, "Probabilities of classes")
            logs = log_tempered_softmax(prediction, self.t2)
            # At a probability of 0 the logarithm is finite, and is multiplied by 0.
            own = target.clamp(min=torch.finfo(target.dtype).tiny).log()
            cost = (target * (tempered_log(own, bend) - tempered_log(logs, bend))).sum(1)
            mass = torch.where(target > 0, (order * own).exp(), 0.0).sum(1)
        else:
            target, keep = class_labels(self, prediction, target, self.ignore_index)
            logs = log_tempered_softmax(prediction, self.t2)
            cost = -tempered_log(logs.gather(1, target.unsqueeze(1)).squeeze(1), bend)
            mass = torch.ones_like(cost)
        return per_sample(cost - (mass - (order * logs).exp().sum(1)) / order, keep)


def log_tempered_softmax(logits: Tensor, t: float | Tensor) -> Tensor:
    """``log exp_t(z - m)`` with m so that ``sum_c exp_t(z_c - m) = 1``, over dimension 1; log_softmax for t = 1.

    ``t`` is at least 1.

    >>> log_tempered_softmax(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), 2.0).exp()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    s = t - 1
    below = logits.amax(1, keepdim=True).detach() - logits  # how far each is below the largest
    rise = torch.zeros_like(below[:, :1])  # m - the largest logit, from 0 upwards
    with torch.no_grad():
        for _ in range(4):
            rise = _newton(below, rise, s)
    # Two more steps from the solution leave it where it is and carry its first and second derivatives.
    for _ in range(2):
        rise = _newton(below, rise, s)
    return -log_tempered_exp(below + rise, s)


def _newton(below: Tensor, rise: Tensor, s: float | Tensor) -> Tensor:
    """One step towards ``h(rise) = (S^-s - 1) / s = 0``, S the sum of the tempered exponentials.

    h is concave and rises, so that steps from below never pass the solution.
    """
    far = below + rise
    logs = -log_tempered_exp(far, s)
    total = logs.logsumexp(1, keepdim=True)
    # h' = S^(-s-1) sum_c exp(logs_c) / (1 + s far_c), and dividing h by S^-s leaves numbers that cannot overflow.
    slope = ((logs - total).exp() / (1 + s * far)).sum(1, keepdim=True)
    return rise + tempered_log(total, s) / slope

"""TaylorGLO's loss: a polynomial in the prediction and the target."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import class_labels, probabilities
from autoloss.losses._shapes import same_shape, several_classes

NUMBERS = tuple(f"theta{i}" for i in range(8))


class Taylor(Loss):
    """``-(1/C) sum_c f(x_c, y_c)``, f of third order in the truth x and the probability y = softmax(z): [B] from below.

    With ``a = x - theta0`` and ``b = y - theta1``: ``f = theta2 b + theta3 b^2 / 2 + theta4 b^3 / 6 + theta5 a b +
    theta6 a b^2 / 2 + theta7 a^2 b / 2`` (the paper's third order; terms without y have no gradient and are left
    out). Logits are [B, C, ...], targets classes [B, ...] or probabilities [B, C, ...].

    The default is the first two terms of cross-entropy's expansion, ``x ((1 - y) + (1 - y)^2 / 2)``;
    ``theta1=0, theta3=-2, theta5=2, theta6=0`` gives the squared error of the probabilities (Brier's score).

    Args:
        theta0: the truth around which f is expanded.
        theta1: the probability around which f is expanded.
        theta2: coefficient of b; no gradient has it, since probabilities sum to 1.
        theta3: coefficient of b^2 / 2.
        theta4: coefficient of b^3 / 6.
        theta5: coefficient of a b.
        theta6: coefficient of a b^2 / 2.
        theta7: coefficient of a^2 b / 2.
        ignore_index: a label that is left out; none by default.

    The value may be negative, and most numbers give a loss that is of no use: the paper finds good ones by evolution
    (CMA-ES), each judged by a short training. Weightings that need losses above 0 cannot be combined with it.
    """

    takes = ("classes", "pixels", "mixtures")
    search_space = {name: Interval(-4.0, 4.0) for name in NUMBERS if name != "theta2"}
    unlearnable = ("theta2",)
    use = "A search, or learning from held-out data, that looks for a loss of any shape."
    avoid = "Nothing is searched; a weighting needs losses above 0."
    outliers = "Bounded: probabilities are. A wrong label costs what the polynomial says."
    imbalance = "Each sample counts equally; the mean over C makes it smaller where there are many classes."
    gradients = "Any, times the slope of softmax: they vanish where the prediction is certain, right or wrong."
    citation = "Gonzalez, Miikkulainen: TaylorGLO, GECCO 2021, arXiv:2002.00059"

    def __init__(
        self,
        theta0: float = 0.0,
        theta1: float = 1.0,
        theta2: float = 0.0,
        theta3: float = 0.0,
        theta4: float = 0.0,
        theta5: float = 1.0,
        theta6: float = -1.0,
        theta7: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.theta0, self.theta1, self.theta2, self.theta3 = theta0, theta1, theta2, theta3
        self.theta4, self.theta5, self.theta6, self.theta7 = theta4, theta5, theta6, theta7
        self.ignore_index = ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        keep = None
        if target.is_floating_point() and target.dim() == prediction.dim():
            prediction, truth = same_shape(prediction, target)
            probabilities(self, truth, "Probabilities of classes")
        else:
            labels, keep = class_labels(self, prediction, target, self.ignore_index)
            classes = torch.arange(prediction.shape[1], device=labels.device).view(1, -1, *[1] * (labels.dim() - 1))
            truth = (labels.unsqueeze(1) == classes).to(prediction.dtype)
        a, b = truth - self.theta0, prediction.softmax(1) - self.theta1
        linear = self.theta2 + a * (self.theta5 + a * self.theta7 / 2)
        square = (self.theta3 + a * self.theta6) / 2
        return per_sample(-(b * (linear + b * (square + b * self.theta4 / 6))).mean(1), keep)

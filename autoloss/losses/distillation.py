"""Knowledge distillation."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape, several_classes


class Distillation(Loss):
    """``T^2 KL(softmax(z_t / T) || softmax(z_s / T))`` of a student's and a teacher's logits: [B, C, ...] each -> [B].

    The target is the teacher's logits, which get no gradient. The factor T^2 keeps gradients of about
    one size at all temperatures. Sum over classes, mean over the rest.

    Args:
        temperature: T, above 0; the higher, the more the teacher's small probabilities count.
    """

    takes = ("logits",)
    search_space = {"temperature": Interval(1.0, 20.0, log=True)}
    use = "A small network that imitates a large one, beside the loss of the labels."
    avoid = "The teacher is no better than the labels, or it knows other classes."
    outliers = "The student learns the teacher's mistakes."
    imbalance = "As in the teacher: the student neglects the classes that the teacher neglects."
    gradients = "(p_s - p_t) T: bounded by T, and the difference of logits over C for large T."
    citation = "Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015, arXiv:1503.02531"

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        self.temperature = temperature

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        prediction, target = same_shape(prediction, target)
        student = (prediction / self.temperature).log_softmax(1)
        teacher = (target.detach() / self.temperature).log_softmax(1)
        return per_sample(self.temperature**2 * (teacher.exp() * (teacher - student)).sum(1))

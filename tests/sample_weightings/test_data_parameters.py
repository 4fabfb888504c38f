"""Data parameters: the temperatures of samples and classes, against finite differences."""

import math

import pytest
import torch
from torch.nn import functional

from autoloss import Balancer, Entry
from autoloss.core.errors import AutolossError
from autoloss.sample_weightings.data_parameters import DataParameters


def test_data_parameters_follow_the_derivative_in_the_log_temperature():
    """One step of plain SGD against finite differences of the cross-entropy of divided logits."""
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    labels, index = torch.tensor([0, 3, 1]), torch.tensor([4, 0, 2])
    rule = DataParameters(lr=0.5, class_lr=0.25, momentum=0.0, classes=4)
    balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=5)
    divided = balancer.temper("a", logits.requires_grad_(), index, labels)
    torch.testing.assert_close(divided, logits / 2)
    balancer({"a": Entry(functional.cross_entropy(divided, labels, reduction="none"), labels=labels)}, index=index)

    def loss(i: int, log_sample: float, log_class: float) -> float:
        z = logits.detach()[i].double() / (math.exp(log_sample) + math.exp(log_class))
        return float(functional.cross_entropy(z, labels[i]))

    learned = balancer.player.samples.rules[0]
    for i in range(3):
        of_sample = (loss(i, 1e-4, 0) - loss(i, -1e-4, 0)) / 2e-4
        of_class = (loss(i, 0, 1e-4) - loss(i, 0, -1e-4)) / 2e-4
        assert float(learned.samples_log[index[i]]) == pytest.approx(-0.5 * of_sample, abs=1e-4)
        assert float(learned.classes_log[labels[i]]) == pytest.approx(-0.25 * of_class, abs=1e-4)
    assert learned.samples_log[[1, 3]].tolist() == [0, 0]


def test_a_confident_right_sample_cools_and_a_wrong_one_heats_up_to_its_bound():
    rule = DataParameters(lr=0.5)
    balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=2)
    logits, labels = torch.tensor([[4.0, 0.0], [4.0, 0.0]], requires_grad=True), torch.tensor([0, 1])
    for _ in range(300):
        divided = balancer.temper("a", logits, torch.arange(2), labels)
        values = functional.cross_entropy(divided, labels, reduction="none")
        balancer({"a": Entry(values, labels=labels)}, index=torch.arange(2))
    cool, hot = balancer.player.samples.rules[0].samples_log
    assert cool < -0.5
    assert hot == pytest.approx(math.log(20))


def test_predictions_that_were_not_divided_are_an_error():
    balancer = Balancer(["a"], "equal", sample_weighting="data_parameters", samples=2)
    values = torch.ones(2, requires_grad=True)
    with pytest.raises(AutolossError, match=r"balancer\.temper\('a'"):
        balancer({"a": Entry(values, labels=torch.tensor([0, 1]))}, index=torch.arange(2))

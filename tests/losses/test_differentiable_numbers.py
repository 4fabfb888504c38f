"""Numbers of losses as tensors: the same value, and first and second derivatives in them, at their limits too."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from autoloss.core.registry.lookup import registry
from autoloss.testing import samples
from autoloss.testing.samples import SAMPLES

FEW = {
    "classes": lambda: samples.classes(3),
    "pixels": lambda: samples.classes(2, 3, 2, 1),
    "mixtures": lambda: SAMPLES["mixtures"][0](3),
}
WEIGHTS = [1.0, 0.5, 2.0, 0.3, 3.0]
CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("generalised_cross_entropy", {"q": 0.7}, "classes", {}),
    ("generalised_cross_entropy", {"q": 0.0}, "classes", {}),
    ("generalised_cross_entropy", {"q": 0.05}, "pixels", {}),
    ("symmetric_cross_entropy", {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0}, "classes", {}),
    ("bi_tempered", {"t1": 0.8, "t2": 1.2}, "classes", {}),
    ("bi_tempered", {"t1": 1.0, "t2": 1.0}, "classes", {}),
    ("bi_tempered", {"t1": 0.3, "t2": 1.01}, "pixels", {}),
    ("bi_tempered", {"t1": 0.5, "t2": 2.0}, "mixtures", {}),
    ("poly", {"e1": 1.0, "e2": 0.2, "e3": -0.1, "gamma": 0.5}, "classes", {}),
    ("poly", {"e1": 0.0, "e2": 0.0, "e3": 0.0, "gamma": 0.0}, "classes", {}),
    ("logit_adjusted", {"offsets": [0.1, -0.2, 0.0, 1.0, 0.5]}, "classes", {}),
    ("logit_adjusted", {"offsets": [0.0] * 5, "tau": 1.0}, "classes", {"priors": WEIGHTS}),
    ("taylor", {f"theta{i}": v for i, v in enumerate((0.0, 1.0, 0.1, -0.2, 0.3, 1.0, -1.0, 0.2))}, "classes", {}),
    ("cross_entropy", {"label_smoothing": 0.0}, "classes", {}),
    ("cross_entropy", {"label_smoothing": 0.1}, "pixels", {"ignore_index": 1}),
    ("cross_entropy", {"label_smoothing": 0.3}, "classes", {"class_weights": WEIGHTS}),
    ("cross_entropy", {"label_smoothing": 0.3}, "mixtures", {"class_weights": WEIGHTS}),
    ("focal", {"gamma": 2.0}, "classes", {}),
    ("focal", {"gamma": 0.0}, "classes", {}),
]


@pytest.mark.parametrize(("name", "numbers", "kind", "more"), CASES)
def test_a_number_may_be_a_tensor_with_a_gradient(name, numbers, kind, more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        logits, target = FEW[kind]()
    logits = logits.double().requires_grad_()
    target = target.double() if target.is_floating_point() else target
    loss = registry.build("loss", name, **numbers, **more)
    expected = loss(logits, target).detach()
    values = tuple(torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in numbers.values())

    def evaluate(logits: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        for key, value in zip(numbers, values, strict=True):
            setattr(loss, key, value)
        return loss(logits, target)

    torch.testing.assert_close(evaluate(logits, *values).detach(), expected, rtol=1e-12, atol=1e-13)
    # forward mode too: the look-ahead is measured with it
    torch.autograd.gradcheck(evaluate, (logits, *values), check_forward_ad=True)
    torch.autograd.gradgradcheck(evaluate, (logits, *values), atol=1e-4)


def test_a_single_offset_of_a_list_may_be_a_tensor():
    loss = registry.build("loss", "logit_adjusted", offsets=[0.0] * 5)
    one = torch.tensor(0.5, requires_grad=True)
    loss.offsets = (one, 0.0, 0.25, 0.0, 0.0)
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    values = loss(logits, labels)
    shifted = logits + torch.tensor([0.5, 0.0, 0.25, 0.0, 0.0])
    torch.testing.assert_close(values, functional.cross_entropy(shifted, labels, reduction="none"))
    (slope,) = torch.autograd.grad(values.sum(), one)
    expected = shifted.softmax(1)[:, 0].sum() - 2
    torch.testing.assert_close(slope, expected.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_extreme_logits_leave_the_gradients_of_numbers_finite(dtype):
    for name, numbers, kind, more in CASES:
        prediction, target = SAMPLES[kind][0](4)
        loss = registry.build("loss", name, **numbers, **more)
        leaves = {key: torch.tensor(value, requires_grad=True) for key, value in numbers.items()}
        for key, leaf in leaves.items():
            setattr(loss, key, leaf)
        for by in (1.0, 1e4):
            logits = (by * prediction).clamp(-6e4, 6e4).to(dtype).requires_grad_()
            values = loss(logits, target)
            slopes = torch.autograd.grad(values.sum(), [logits, *leaves.values()])
            assert values.isfinite().all(), (name, by)
            assert all(slope.isfinite().all() for slope in slopes), (name, by)

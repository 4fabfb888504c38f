"""Losses of a batch become K scalars, exactly, whatever is masked or missing."""

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.core.table import Entry, LossTable


def reduced(**entries):
    return LossTable(entries).reduced(list(entries))


def test_a_mean_is_over_present_items_only():
    values, mask = torch.tensor([1.0, float("nan"), 5.0]), torch.tensor([True, False, True])
    out = reduced(a=Entry(values, mask), b=torch.tensor([2.0, 4.0, 6.0]))
    assert out.values.tolist() == [3.0, 4.0]
    assert out.counts.tolist() == [2.0, 3.0]


def test_the_scalar_has_the_gradient_of_the_mean():
    values = torch.tensor([1.0, 2.0, 5.0], requires_grad=True)
    out = reduced(a=Entry(values, torch.tensor([True, False, True])), b=values)
    (gradient,) = torch.autograd.grad(out.scalars[0], values, retain_graph=True)
    assert gradient.tolist() == [0.5, 0.0, 0.5]
    (gradient,) = torch.autograd.grad(out.scalars[1], values)
    assert torch.allclose(gradient, torch.full((3,), 1 / 3))


def test_an_absent_loss_has_no_scalar_and_an_empty_mask_is_absent():
    out = LossTable({"a": torch.tensor(2.0), "b": None, "c": Entry(torch.ones(3), torch.zeros(3).bool())}).reduced(
        ["a", "b", "c"]
    )
    assert out.present.tolist() == [True, False, False]
    assert out.scalars[1] is None
    assert float(out.scalars[2]) == 0.0


def test_low_precision_losses_are_summed_in_float32():
    out = reduced(a=torch.full((4096,), 1.001, dtype=torch.bfloat16))
    assert out.scalars[0].dtype == torch.float32
    assert float(out.values[0]) == pytest.approx(float(torch.tensor(1.001, dtype=torch.bfloat16)))


def test_float64_losses_keep_their_precision():
    assert reduced(a=torch.ones(3, dtype=torch.float64)).scalars[0].dtype == torch.float64


def test_mistakes_are_one_sentence():
    with pytest.raises(ConfigError, match="must return at least one loss, but it returned none"):
        LossTable({})
    with pytest.raises(ConfigError, match="At least one of the losses a must be present"):
        LossTable({"a": None}).reduced(["a"])
    with pytest.raises(ConfigError, match=r"values are \[3\] and the mask is \[2\]"):
        reduced(a=Entry(torch.ones(3), torch.ones(2).bool()))

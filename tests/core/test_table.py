"""Losses of a batch become K scalars, exactly, whatever is masked or missing."""

import pytest
import torch

from autoloss.core.errors import ConfigError
from autoloss.core.table import Entry, LossTable
from autoloss.training.step.weigh import weighted_sum


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


@pytest.mark.parametrize("shapes", [((), ()), ((8,), (8,)), ((8, 3), (5,)), ((), (7,))])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_together_are_the_losses_one_by_one_to_the_last_digit(shapes, masked):
    torch.manual_seed(0)
    weights = torch.tensor([0.3, 1.7])
    found = []
    raw = [torch.randn(shape) for shape in shapes]
    for together in (False, True):
        leaves = [x.clone().requires_grad_() for x in raw]
        mask = raw[1] > 0 if masked else None
        table = LossTable({"a": leaves[0] * 2, "b": Entry(leaves[1].exp(), mask=mask)})
        losses = table.reduced(["a", "b"], together=together)
        assert (losses.sums is not None) == (not masked)
        assert all(x.requires_grad for x in losses.scalars) == (masked or not together)
        weighted_sum(losses, weights).backward()
        bare = losses.bare()
        assert not any(x.requires_grad for x in bare.scalars)
        found.append([*bare.scalars, losses.values, losses.counts, losses.present, *[x.grad for x in leaves]])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_batch_after_an_evaluation_has_a_backward():
    # What is cached in inference mode could not be saved for a backward.
    made = [torch.ones(977, requires_grad=True) for _ in range(2)]
    with torch.inference_mode():
        LossTable({"a": made[0], "b": made[1]}).reduced(["a", "b"], together=True)
        LossTable({"a": made[0]}).reduced(["a"])
    for together in (False, True):
        losses = LossTable({"a": made[0], "b": made[1]}).reduced(["a", "b"], together=together)
        weighted_sum(losses, torch.ones(2)).backward()
    assert torch.allclose(made[0].grad, torch.full((977,), 2 / 977))

"""Weightings of groups: the k worst losses, and the excess over a reference, by hand and by their limits."""

import math

import pytest
import torch

from autoloss.core.errors import AutolossError
from autoloss.weightings.excess import Excess
from autoloss.weightings.worst_k import WorstK


@pytest.mark.parametrize(
    ("k", "values", "present", "expected"),
    [
        (1, [1.0, 3.0, 2.0], None, [0, 3, 0]),
        (2, [1.0, 3.0, 2.0], None, [0, 1.5, 1.5]),
        (3, [1.0, 3.0, 2.0], None, [1, 1, 1]),
        (9, [1.0, 3.0, 2.0], None, [1, 1, 1]),
        (1, [3.0, 3.0, 2.0], None, [1.5, 1.5, 0]),
        (2, [4.0, 3.0, 3.0, 1.0], None, [2, 1, 1, 0]),
        (1, [1.0, 9.0, 2.0], [True, False, True], [0, 0, 2]),
        (2, [-1.0, -3.0, -2.0], None, [1.5, 0, 1.5]),
    ],
)
def test_the_largest_losses_share_the_weight(signals_of, k, values, present, expected):
    weighting = WorstK(k).bind("abcd"[: len(values)])
    assert weighting(signals_of(values, present=present)).tolist() == pytest.approx(expected)


def test_the_total_is_the_mean_of_the_k_largest(signals_of):
    for seed in range(5):
        values = torch.rand(6, generator=torch.Generator().manual_seed(seed))
        for k in range(1, 7):
            total = (WorstK(k).bind("abcdef")(signals_of(values)) * values).sum()
            assert total == pytest.approx(6 * values.topk(k).values.mean().item(), rel=1e-5)


def excess(**options):
    return Excess(**options).bind(["a", "b", "c"])


def test_steps_are_exponentiated_ascent(signals_of, learn):
    weighting = excess(losses={"a": 1.0, "b": 0.5}, rate=0.3, floor=0.1)
    alpha = torch.full((3,), 1 / 3)
    for values in ([2.0, 1.0, 0.2], [0.5, 1.5, 0.3], [3.0, 0.1, 0.0]):
        weights = learn(weighting, signals_of(values))
        assert weights.tolist() == pytest.approx((3 * alpha).tolist(), rel=1e-4)
        alpha = alpha * torch.exp(0.3 * (torch.tensor(values) - torch.tensor([1.0, 0.5, 0.0])).clamp(min=0))
        alpha = 0.9 * alpha / alpha.sum() + 0.1 / 3


def test_losses_that_reached_their_reference_are_weighed_alike(signals_of, learn):
    weighting = excess(losses={"a": 1.0, "b": 5.0, "c": 0.1}, rate=1.0)
    for _ in range(20):
        weights = learn(weighting, signals_of([0.9, 4.0, 0.1]))
    assert weights.tolist() == pytest.approx([1, 1, 1])


def test_a_constant_excess_ends_where_the_floor_holds_it(signals_of, learn):
    """The fixed point of a <- (1 - f) a e^(rate d) / Z + f / K, solved for the losses without excess."""
    weighting = excess(rate=0.5, floor=0.2, losses={"b": 1.0, "c": 1.0})
    for _ in range(300):
        weights = learn(weighting, signals_of([1.0, 1.0, 1.0])) / 3
    a, b = weights[0].item(), weights[1].item()
    grown = math.exp(0.5) * a
    assert a == pytest.approx(0.8 * grown / (grown + 2 * b) + 0.2 / 3, rel=1e-4)
    assert a > b > 0.2 / 3


def test_a_loss_that_is_absent_keeps_its_place(signals_of, learn):
    weighting = excess(rate=0.5)
    learn(weighting, signals_of([3.0, 1.0, 1.0]))
    before = weighting(signals_of([1.0, 1.0, 1.0]))
    for _ in range(5):
        learn(weighting, signals_of([9.0, 0.0, 0.0], present=[False, True, True]))
    assert weighting(signals_of([1.0, 1.0, 1.0])).tolist() == pytest.approx(before.tolist(), rel=5e-2)


def run(tmp_path, text):
    (tmp_path / "trajectory.csv").write_text(text)
    return str(tmp_path)


def test_the_reference_is_the_end_of_a_run(tmp_path):
    rows = "\n".join(
        f"{step},{step * 1.0},{2.0 if step > 17 else 9.0},,{'nan' if step == 19 else 4.0}" for step in range(20)
    )
    given = run(tmp_path, f"step,loss_raw/a,loss_raw/b,loss_weight/a,loss_raw/generator/c\n{rows}\n")
    assert excess(reference=given).reference.tolist() == pytest.approx([18.5, 2.0, 4.0])


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(AutolossError, match="must be the directory of a run, but there is no file"):
        Excess(reference=str(tmp_path / "none"))
    with pytest.raises(AutolossError, match="has no losses"):
        Excess(reference=run(tmp_path, "step,other\n1,2\n"))
    with pytest.raises(AutolossError, match="cannot be read"):
        Excess(reference=run(tmp_path, "step,loss_raw/a\n1,x\n"))
    with pytest.raises(AutolossError, match=r"the same losses, but .* has a, z and not b, c. Train it"):
        excess(reference=run(tmp_path, "step,loss_raw/a,loss_raw/z\n1,1,1\n"))
    with pytest.raises(AutolossError, match="there is no loss 'z'"):
        excess(losses={"z": 1.0})
    with pytest.raises(AutolossError, match="both are given"):
        Excess(reference=".", losses={"a": 1.0})
    with pytest.raises(AutolossError, match="`k` must be at least 1"):
        WorstK(0)

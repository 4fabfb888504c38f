"""The rule ``auto``: by hand, in its bounds, with and without an anchor."""

import math

import pytest
import torch
from torch import nn

from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.signals import Signals
from autoloss.testing import streams
from autoloss.testing.subject import follow, learn
from autoloss.training.balancer import Balancer
from autoloss.weightings.auto import Auto
from autoloss.weightings.wrappers.every_n import EveryN

NAMES = ("a", "b", "c")


def signals(norms, values=None, **more):
    """Orthogonal gradients of these norms."""
    size = len(norms)
    return Signals(
        NAMES[:size],
        torch.tensor(values or [1.0] * size),
        torch.ones(size, dtype=torch.bool),
        measured_gram=torch.diag(torch.tensor(norms) ** 2),
        **more,
    )


def weights(rule, *steps):
    return follow(rule.bind(steps[0].names), steps)[-1].tolist()


def test_half_balance_by_hand():
    """Norms 1 and 4: weights in the ratio 1 to 1/2. Gradients of 1 c and 2 c must be as long together as 1 and 4."""
    assert weights(Auto(norm=0.5), signals([1.0, 4.0])) == pytest.approx([5 / 3, 5 / 6])


def test_the_sum_of_the_weights_by_hand():
    assert weights(Auto(norm=0.5, keep=0.0), signals([1.0, 4.0])) == pytest.approx([4 / 3, 2 / 3])


def test_equal_and_full_balance():
    assert weights(Auto(norm=0.0), signals([1.0, 4.0])) == pytest.approx([1, 1])
    assert weights(Auto(norm=1.0), signals([1.0, 4.0])) == pytest.approx([2.5, 0.625])


def test_averages_are_slow():
    """Norms of 1, then of 100, are (0.9 + 100) / 1.9 for the second step, 10 once there were many."""
    first, then = signals([1.0, 1.0]), signals([1.0, 100.0])
    found = weights(Auto(norm=1.0, decay=0.9), first, then)
    assert found[0] / found[1] == pytest.approx(100.9 / 1.9)
    found = weights(Auto(norm=1.0, decay=0.9), *[first] * 300, then)
    assert found[0] / found[1] == pytest.approx(10.9, rel=1e-4)


def test_gradients_that_become_shorter_are_made_longer_by_hand():
    """Together 8 long at first, then 2 long: half as much shorter in logarithm is 4 long, so all weights are 2."""
    assert weights(Auto(decay=0.0), signals([4.0, 4.0]), signals([1.0, 1.0])) == pytest.approx([2, 2])
    found = weights(Auto(decay=0.0), signals([4.0, 16.0]), signals([1.0, 4.0]))
    assert found == pytest.approx([2 * 5 / 3, 2 * 5 / 6])
    assert weights(Auto(decay=0.0), signals([1.0, 1.0]), signals([4.0, 4.0])) == pytest.approx([1, 1])
    assert weights(Auto(decay=0.0), signals([1e9, 1e9]), signals([1.0, 1.0])) == pytest.approx([10, 10])
    assert weights(Auto(decay=0.0, rise=1.0), signals([4.0, 4.0]), signals([1.0, 1.0])) == pytest.approx([4, 4])
    for even in ({"rise": 0.0}, {"keep": 0.0}, {"highest": 1.0}):
        assert weights(Auto(decay=0.0, **even), signals([4.0, 4.0]), signals([1.0, 1.0])) == pytest.approx([1, 1])


def test_one_loss_has_nothing_to_be_balanced_with():
    assert weights(Auto(decay=0.0), signals([4.0]), signals([1.0])) == pytest.approx([1])
    assert weights(
        Auto(decay=0.0), *[Signals(("a",), torch.tensor([x]), torch.ones(1, dtype=torch.bool)) for x in (9.0, 1.0)]
    ) == [1]


def test_values_that_fall_make_nothing_rise_where_there_is_no_anchor():
    """A loss may cross 0, and its size says nothing then."""
    steps = [Signals(NAMES[:2], torch.tensor([x, x]), torch.ones(2, dtype=torch.bool)) for x in (9.0, 1.0, 0.01, -4.0)]
    assert weights(Auto(decay=0.0), *steps) == pytest.approx([1, 1])


def test_one_balanced_loss_beside_others_keeps_its_weight():
    alone = [streams.absent(signals([x, 1.0]), [1]) for x in (4.0, 1.0)]
    assert weights(Auto(decay=0.0), *alone)[0] == pytest.approx(1)
    balancer = Balancer(["rec", "kl"], "auto", unbalanced=["kl"], base={"kl": 0.1})
    head, kl = nn.Linear(4, 1), torch.ones(())
    for step in range(20):
        features = torch.randn(8, 4, requires_grad=True)
        balancer({"rec": 0.5**step * head(features).square().mean(), "kl": kl}, anchor=features)
    assert balancer.weights == pytest.approx({"rec": 1.0, "kl": 0.1})


def test_a_loss_that_comes_later_makes_nothing_rise():
    """It counts from its first gradient on, and while it is absent the others alone count."""
    both = signals([4.0, 4.0])
    alone = streams.absent(both, [1])
    later = signals([4.0, 1.0])
    found = follow(Auto(norm=0.0, decay=0.0).bind(NAMES[:2]), [alone, both, alone, later])
    torch.testing.assert_close(torch.stack(found[:3])[:, 0], torch.ones(3))
    assert found[-1][0] == pytest.approx((8 / 5) ** 0.5)


def textbook(stream, norm, loss, fall, cosine, slopes, keep, decay):
    """The rule of the docstring, loss by loss."""
    size = len(stream[0].names)
    average, level, first, begun, found = [None] * size, [None] * size, [None] * size, None, []
    norms, values = [], []
    for seen in stream:
        p, gram = seen.progress, seen.gram.double()
        logs = []
        directions = [[gram[i, j] / (gram[i, i] * gram[j, j]).sqrt() for j in range(size)] for i in range(size)]
        length = math.sqrt(sum(sum(row) for row in directions))
        norms.append([float(gram[k, k].sqrt()) for k in range(size)])
        values.append([abs(float(value)) for value in seen.values])
        parts = [decay**age for age in reversed(range(len(norms)))]
        for k in range(size):
            average[k] = sum(part * of[k] for part, of in zip(parts, norms, strict=True)) / sum(parts)
            level[k] = sum(part * of[k] for part, of in zip(parts, values, strict=True)) / sum(parts)
            first[k] = level[k] if first[k] is None else first[k]
            logs.append(
                -(norm + slopes[0] * p) * math.log(average[k])
                - (loss + slopes[1] * p) * math.log(level[k])
                - (fall + slopes[2] * p) * math.log(level[k] / first[k])
                - (cosine + slopes[3] * p) * float(sum(directions[k])) / length
            )
        begun = sum(average) if begun is None else begun
        ratio = [math.exp(x) for x in logs]
        risen = min(max((begun / sum(average)) ** 0.5, 1), 10)
        kept = risen * sum(average) / sum(r * n for r, n in zip(ratio, average, strict=True))
        summed = size / sum(ratio)
        found.append([r * summed * (kept / summed) ** keep for r in ratio])
    return torch.tensor(found)


@pytest.mark.parametrize("keep", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_of_the_rule(keep, seed):
    numbers = {"norm": 0.4, "loss": 0.2, "fall": -0.3, "cosine": 0.5}
    slopes = {"norm_slope": 0.3, "loss_slope": -0.1, "fall_slope": 0.2, "cosine_slope": -0.4}
    stream = streams.stream(NAMES, 8, seed)
    rule = Auto(**numbers, **slopes, keep=keep, decay=0.7, widest=1e12).bind(NAMES)
    expected = textbook(stream, *numbers.values(), list(slopes.values()), keep, 0.7)
    torch.testing.assert_close(torch.stack(follow(rule, stream)), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("numbers", [{}, {"norm": 1.0, "loss": 1.0, "fall": -1.0, "cosine": 1.0}])
def test_no_weight_leaves_the_range(numbers):
    """Whatever vanishes, jumps or changes its sign."""
    for seed in range(3):
        for change in (
            lambda s: s,
            lambda s: streams.flat(s, [0]) if s.step % 2 else s,
            lambda s: streams.flat(s, [0, 1, 2]),
            lambda s: streams.scaled(s, [1e10, 1.0, 1e-10]),
            lambda s: streams.scaled(s, [-1e5 if s.step % 2 else 1e5, 1.0, 0.0], [1.0, 1e10, 1.0]),
            lambda s: streams.absent(s, [1]) if s.step % 2 else s,
        ):
            for anchored in (True, False):
                stream = [change(s) for s in streams.stream(NAMES, 12, seed)]
                if not anchored:
                    stream = [streams.only(s, Auto.needs & ~Auto.optional) for s in stream]
                rule = Auto(**numbers, widest=100.0).bind(NAMES)
                for seen, found in zip(stream, follow(rule, stream), strict=True):
                    here = found[seen.present]
                    assert here.max() <= 1000.01
                    assert here.min() >= 0.0099


def test_a_loss_that_is_solved_leaves_the_others_as_they_are():
    """Its gradient vanishes, its weight grows up to the bound, and the others keep theirs."""
    rule = Auto(decay=0.9).bind(NAMES)
    steps = [signals([1.0, 2.0, 1.0])] * 5 + [signals([1.0, 2.0, 0.0])] * 400
    found = follow(rule, steps)
    assert found[-1][2] == pytest.approx(found[-1].max().item())
    risen = (4 / 3) ** 0.5  # all gradients together are 3 long after 4
    alone = [risen * w for w in weights(Auto(), signals([1.0, 2.0]))]
    assert found[-1][:2].tolist() == pytest.approx(alone, rel=0.01)


def test_values_alone_by_hand():
    rule = Auto(alone=0.5).bind(NAMES[:2])
    seen = Signals(NAMES[:2], torch.tensor([1.0, -4.0]), torch.ones(2, dtype=torch.bool))
    assert rule(seen).tolist() == pytest.approx([5 / 3, 5 / 6])
    learn(rule, seen)
    assert rule.compared.tolist() == [0, 0]
    torch.testing.assert_close(rule.levels / rule.seen, torch.tensor([1.0, 4.0]))


def training(weighting, anchored, steps=4):
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
    balancer = Balancer(["a", "b"], weighting)
    for _ in range(steps):
        features = trunk(torch.randn(8, 3)).tanh()
        losses = {n: s * h(features).square().mean() for n, h, s in zip("ab", heads, (1.0, 9.0), strict=True)}
        balancer(losses, anchor=features if anchored else None).backward()
    return balancer


@pytest.mark.parametrize("wrapped", [False, True])
def test_which_rule_is_used_depends_on_the_anchor(wrapped):
    make = (lambda: EveryN(Auto(), 2)) if wrapped else Auto
    inner = (lambda of: of.player.weighting.inner) if wrapped else (lambda of: of.player.weighting)
    with_anchor, without = training(make(), True), training(make(), False)
    assert (inner(with_anchor).compared > 0).all()
    assert (inner(without).compared == 0).all()
    assert (inner(without).seen > 0).all()
    assert with_anchor.weights != without.weights


def test_another_weighting_still_needs_its_anchor():
    with pytest.raises(SignalError, match="needs gradients at an anchor"):
        training("gradnorm", False)


@pytest.mark.parametrize("wrong", [{"keep": 2.0}, {"decay": 1.0}, {"widest": 1.0}, {"rise": -0.1}, {"highest": 0.9}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Auto(**wrong)

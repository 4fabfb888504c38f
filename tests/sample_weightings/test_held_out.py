"""Samples weighed by what they do for held-out data: right samples count, wrong ones do not, nothing is disturbed."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoloss import Balancer
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.samples import Samples
from autoloss.core.table import Entry
from autoloss.problems._tensors import TensorTable
from autoloss.sample_weightings.meta_weight_net import MetaWeightNet
from autoloss.sample_weightings.reweight import Reweight
from tests.training.lightning.test_multitask import config, train


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.25), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0)
        )


def loss(net, x, y):
    return {"class": functional.binary_cross_entropy_with_logits(net(x), y, reduction="none")}


def data(seed=0, size=16):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    return x, (x[:, 0] > 0).float()


def one_step(rule, x, y, held, net=None, mask=None, accumulate=1):
    """The weights that the samples of one step got, and the network and random numbers after it."""
    torch.manual_seed(0)
    net = net or Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    balancer = Balancer(["class"], "equal", sample_weighting=rule, accumulate=accumulate)
    given = []
    for part_x, part_y in zip(x.chunk(accumulate), y.chunk(accumulate), strict=True):

        def of(net, part_x=part_x, part_y=part_y):
            return {"class": Entry(loss(net, part_x, part_y)["class"], mask)}

        with balancer.lookahead(net, optimizer, train=of, held_out=lambda net: loss(net, *held)):
            (balancer(of(net)) / accumulate).backward()
            given += [one.weights for one in balancer.player.window.sampled()[-1]]
            if len(given) == accumulate:
                optimizer.step()
    return torch.cat(given), net, float(torch.rand(()))


def test_weights_are_the_positive_parts_of_the_samples_hypergradients():
    (x, y), held = data(), data(1, 8)
    torch.manual_seed(0)
    net = Net()
    weights, _, _ = one_step("reweight", x, y, held, copy.deepcopy(net))
    # The batch as torch sees it in training mode, with the masks of the step; the held-out gradient with masks of its own.
    torch.manual_seed(0)
    gains = []
    each = loss(net, x, y)["class"]
    parameters = list(net.parameters())
    torch.manual_seed(0x5EED)
    v = torch.autograd.grad(loss(net, *held)["class"].mean(), parameters)
    for one in each:
        g = torch.autograd.grad(one, parameters, retain_graph=True)
        gains.append(sum((a * b).sum() for a, b in zip(g, v, strict=True)))
    gains = torch.stack(gains).clamp(min=0)
    torch.testing.assert_close(weights, 16 * gains / gains.sum(), rtol=1e-3, atol=1e-4)


def test_a_wrong_label_counts_nothing_and_a_right_one_much():
    (x, y), held = data(size=12), data(size=12)
    wrong = y.clone()
    wrong[:4] = 1 - wrong[:4]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    weights, _, _ = one_step("reweight", x, wrong, held, net)
    assert weights[:4].max() == 0
    assert float(weights.mean()) == pytest.approx(1)


def test_a_masked_sample_has_no_part():
    (x, y), held = data(), data(1)
    mask = torch.arange(16) < 10
    weights, _, _ = one_step("reweight", x, y, held, mask=mask)
    assert float(weights[:10].mean()) == pytest.approx(1)


def test_the_step_itself_is_not_disturbed():
    (x, y), held = data(), data(1)
    _, net, draw = one_step(MetaWeightNet(), x, y, held)
    plain, other = Net(), None
    torch.manual_seed(0)
    plain = Net()
    plain(x)
    other = float(torch.rand(()))
    assert draw == other
    assert torch.equal(net[1].running_mean, plain[1].running_mean)
    assert int(net[1].num_batches_tracked) == 1


def test_micro_batches_are_foreseen_one_by_one():
    (x, y), held = data(), data(1)
    weights, _, _ = one_step("reweight", x, y, held, accumulate=2)
    assert len(weights) == 16


def test_meta_weight_net_learns_that_large_losses_hurt():
    rule = MetaWeightNet(lr=0.01)
    rule.bind()
    generator = torch.Generator().manual_seed(0)
    for step in range(300):
        losses = 3 * torch.rand(32, generator=generator)
        gain = torch.where(losses > 2, -1.0, 1.0)
        rule.update(Samples("a", losses, torch.ones(32, dtype=torch.bool), step, measured_alignment=gain * 1e-6))
    ends = Samples("a", torch.tensor([0.5, 1.0, 2.6, 3.0]), torch.ones(4, dtype=torch.bool))
    weights = rule(ends)
    assert weights[:2].min() > 0.7
    assert weights[2:].max() < 0.4


@pytest.mark.parametrize("size", [1, 5])
def test_the_surrogates_gradient_is_that_of_the_weights(size):
    rule = MetaWeightNet(width=7, decay=0.0)
    rule.bind()
    gain = torch.randn(size, generator=torch.Generator().manual_seed(0))
    samples = Samples("a", torch.rand(size) + 0.5, torch.ones(size, dtype=torch.bool), measured_alignment=gain)
    seen = {}
    rule.adam.step = lambda value, gradient: seen.update(gradient=gradient)
    before = rule.net.clone()
    rule.update(samples)
    for i in range(0, len(before), 5):
        ends = []
        for sign in (-1, 1):
            net = before.clone()
            net[i] += sign * 1e-2
            ends.append(float((gain * rule._weights(net, samples.losses)).mean()))
        slope = (ends[1] - ends[0]) / 2e-2 / float(gain.abs().mean())
        assert -float(seen["gradient"][i]) == pytest.approx(slope, rel=0.05, abs=2e-3)


def test_without_held_out_data_it_says_what_to_write():
    (x, y), net = data(), Net()
    balancer = Balancer(["class"], "equal", sample_weighting="reweight")
    with pytest.raises(SignalError, match="'reweight' needs the effect of each sample on held-out data"):
        balancer(loss(net, x, y))
    with (
        pytest.raises(ConfigError, match="'reweight' needs held-out losses, but the look-ahead lacks one"),
        balancer.lookahead(net, train=lambda net: loss(net, x, y)),
    ):
        pass


class Corrupted(Problem):
    """A third of the training labels are wrong; the data kept for the weights are right."""

    terms = {"class": "binary_cross_entropy"}
    metrics = {"error": "min"}

    def datasets(self, seed):
        def table(seed, wrong):
            x, y = data(seed, 384)
            flip = torch.arange(384) % 3 == 0 if wrong else torch.zeros(384, dtype=torch.bool)
            return TensorTable(x=x, y=torch.where(flip, 1 - y, y), corrupted=flip)

        return {"train": table(1, True), "val": table(2, False)}

    def hold_out(self, train, share, seed):
        return train, TensorTable(
            x=(x := data(3, 64)[0]), y=(x[:, 0] > 0).float(), corrupted=torch.zeros(64, dtype=torch.bool)
        )

    def network(self):
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))

    def outputs(self, network, batch):
        return Outputs({"class": Term(network(batch["x"]), batch["y"])}, keys={"corrupted": batch["corrupted"]})

    def measure(self, outputs):
        term = outputs.term("class")
        return {"error": ((term.prediction > 0) != (term.target > 0)).float()}


@pytest.mark.parametrize("rule", [Reweight, MetaWeightNet])
def test_a_run_keeps_clean_data_for_the_weights(tmp_path, rule):
    name = {Reweight: "reweight", MetaWeightNet: "meta_weight_net"}[rule]
    settings = config("equal", epochs=15, problem={"name": f"{__name__}:Corrupted"})
    settings["optimizer"]["lr"] = 0.03
    found = {}
    for which in ("uniform", name):
        settings["sample_weighting"] = {"name": which}
        found[which] = train(settings, tmp_path / which)["metrics"]["error"]
    assert found[name] < found["uniform"]

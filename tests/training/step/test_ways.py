"""Every way to train in one process: the plain run again, or the plain loop with the same weights written by hand."""

import copy
import warnings
from contextlib import nullcontext

import pytest
import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from autoloss import Balancer, Entry
from autoloss.core.errors import SignalError

LATE = {"name": "gradnorm", "wrap": [{"every_n": {"n": 3}}, {"warmup": {"steps": 2}}]}
AT = pytest.mark.parametrize("at", ["features", "parameters"])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        self.heads = nn.ModuleDict({name: nn.Linear(4, 3) for name in "abc"})

    def losses(self, features):
        return {name: head(features).square().mean(1) * 4**k for k, (name, head) in enumerate(self.heads.items())}


def batches(steps=8, size=16):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 5, generator=generator) for _ in range(steps)]


def parameters(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).cpu()


def train(
    weighting,
    at="features",
    net=None,
    trunk=None,
    weights=None,
    cast=None,
    scaler=None,
    clip=None,
    accumulate=1,
    trained=None,
    device="cpu",
):
    """Parameters and the weights of each call; with ``weights`` it is the plain loop that has them written by hand."""
    net = (net or Net()).to(device)
    trunk = trunk or net.trunk
    balancer = Balancer("abc", weighting, accumulate=accumulate) if weights is None else None
    optimizer = torch.optim.SGD((trained or net).parameters(), lr=0.05)
    used = []
    for batch in batches():
        optimizer.zero_grad()
        for part in batch.to(device).chunk(accumulate):
            with nullcontext() if cast is None else torch.autocast(device, dtype=cast):
                features = trunk(part)
                losses = net.losses(features)
            if balancer is None:
                hand = weights[len(used)]
                total = sum(hand[name] * loss.float().mean() for name, loss in losses.items())
                used.append(hand)
            else:
                anchor = features if at == "features" else list(net.trunk.parameters())
                total = balancer(
                    losses, anchor, None if scaler is None else scaler.scale(torch.ones((), device=device))
                )
                used.append(balancer.weights)
            (total / accumulate if scaler is None else scaler.scale(total / accumulate)).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        if clip is not None:
            clip_grad_norm_(net.parameters(), clip)
        optimizer.step() if scaler is None else scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
    return parameters(net), used, balancer


WAYS = {
    "plain": {},
    "clipped": {"clip": 0.1},
    "bfloat16": {"cast": torch.bfloat16},
    "accumulated": {"accumulate": 4},
    "all of them": {"clip": 0.1, "cast": torch.bfloat16, "accumulate": 4},
}


@AT
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty"])
def test_the_plain_loop_with_the_same_weights_written_by_hand_ends_at_the_same_parameters(way, at, weighting, device):
    found, used, _ = train(weighting, at, device=device, **WAYS[way])
    by_hand, _, _ = train(weighting, at, weights=used, device=device, **WAYS[way])
    torch.testing.assert_close(found, by_hand, rtol=1e-5, atol=1e-6)
    assert used[-1] != used[0]


@AT
@pytest.mark.parametrize("way", ["clipped", "bfloat16", "float16", "accumulated"])
def test_weights_are_those_of_the_plain_run(way, at, device):
    # The weights' first answers: training goes on elsewhere where gradients are clipped.
    scaler = torch.amp.GradScaler(device, init_scale=2.0**12) if way == "float16" else None
    options = {"cast": torch.float16, "scaler": scaler} if way == "float16" else WAYS[way]
    _, plain, _ = train("gradnorm", at)
    _, used, balancer = train("gradnorm", at, device=device, **options)
    calls = balancer.accumulate
    for step in (0, 1):
        assert used[step * calls] == pytest.approx(plain[step], rel=0.02 if "float" in way else 1e-5)


def test_a_step_that_the_scaler_skips_teaches_nothing(device):
    # 2^40 overflows float16: gradients are infinite until the scale has come down, by half at each step.
    scaler = torch.amp.GradScaler(device, init_scale=2.0**40)
    found, used, balancer = train("gradnorm", cast=torch.float16, scaler=scaler, device=device)
    assert torch.equal(found, parameters(Net()))
    fresh = Balancer("abc", "gradnorm").player.weighting.state_dict()
    for name, value in balancer.player.weighting.state_dict().items():
        torch.testing.assert_close(value.cpu(), fresh[name], equal_nan=True, msg=name)


def compiled(backend):
    def apply(net):
        return torch.compile(net.trunk, backend=backend)

    return apply


def checkpointed(reentrant):
    def apply(net):
        return lambda x: checkpoint(net.trunk, x.requires_grad_(), use_reentrant=reentrant)

    return apply


@AT
@pytest.mark.parametrize("weighting", ["gradnorm", LATE], ids=["gradnorm", "late"])
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(compiled("aot_eager"), id="compiled"),
        pytest.param(compiled("inductor"), id="inductor", marks=pytest.mark.slow),
        pytest.param(checkpointed(False), id="checkpointed"),
        pytest.param(checkpointed(True), id="checkpointed reentrantly"),
    ],
)
def test_a_trunk_that_runs_otherwise_trains_as_the_plain_one(way, weighting, at, device, request):
    net = Net().to(device)
    if "reentrantly" in request.node.name and at == "parameters":
        with pytest.raises(SignalError, match="4 of 4 are behind reentrant activation checkpointing. Pass use_reent"):
            train(weighting, at, net, way(net), device=device)
        return
    plain, weights, _ = train(weighting, at, device=device)
    found, used, _ = train(weighting, at, net, way(net), device=device)
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-6)
    assert used[-1] == pytest.approx(weights[-1], rel=1e-5)
    assert used[-1] != used[0]


def test_heads_that_are_checkpointed_reentrantly_are_an_error_that_says_what_to_do():
    net = Net()
    features = net.trunk(torch.ones(2, 5))
    losses = {n: checkpoint(head, features, use_reentrant=True).mean() for n, head in net.heads.items()}
    with pytest.raises(SignalError, match="checkpointing between them and the anchor is reentrant. Pass use_reentrant"):
        Balancer("abc", "gradnorm")(losses, anchor=features)


@pytest.mark.parametrize("weighting", ["uncertainty", "rlw"])
def test_a_step_that_is_compiled_whole_trains_as_the_plain_one(weighting, device):
    net, balancer = Net().to(device), Balancer("abc", weighting)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)

    def step(x):
        return balancer(net.losses(net.trunk(x)))

    compilations = []

    def backend(graph, inputs):
        compilations.append(graph)
        return graph.forward

    run = torch.compile(step, backend=backend)
    with warnings.catch_warnings():
        # torch's own, where a graph breaks that has given a tensor.
        warnings.filterwarnings("ignore", ".*not a leaf Tensor.*")
        for batch in batches():
            optimizer.zero_grad()
            run(batch.to(device)).backward()
            optimizer.step()
    torch.testing.assert_close(parameters(net), train(weighting, device=device)[0], rtol=1e-5, atol=1e-6)
    assert len(compilations) == 1


def test_a_network_that_is_compiled_whole_has_no_features_and_the_error_says_so():
    net = Net()

    @torch.compile(backend="aot_eager")
    def whole(x):
        features = net.trunk(x)
        return net.losses(features), features

    losses, features = whole(torch.ones(2, 5))
    with pytest.raises(SignalError, match="under torch.compile: compile trunk and heads apart"):
        Balancer("abc", "gradnorm")(losses, anchor=features)
    Balancer("abc", "gradnorm")(losses, anchor=list(net.trunk.parameters())).backward()


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "uncertainty"])
def test_a_frozen_trunk_is_one_that_no_optimiser_steps(weighting, accumulate):
    net = Net()
    plain, weights, _ = train(weighting, net=net, trained=net.heads, accumulate=accumulate)
    net = Net()
    net.trunk.requires_grad_(False)
    found, used, _ = train(
        weighting, net=net, trunk=lambda x: net.trunk(x).requires_grad_(), trained=net.heads, accumulate=accumulate
    )
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-7)
    assert used == weights


def test_the_features_of_a_frozen_trunk_must_be_asked_for_gradients():
    net = Net()
    net.trunk.requires_grad_(False)
    with pytest.raises(SignalError, match="network is frozen, call features.requires_grad_.. before the heads"):
        train("gradnorm", net=net)


def test_a_trunk_may_be_frozen_in_part():
    net = Net()
    net.trunk[0].requires_grad_(False)
    before = net.trunk[0].weight.clone()
    found, used, _ = train("gradnorm", net=net)
    other = Net()
    other.trunk[0].requires_grad_(False)
    torch.testing.assert_close(found, train("", net=other, weights=used)[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(net.trunk[0].weight, before)


# The masked batch says so where it lacks a task; of the loaders a task is simply absent.
@pytest.mark.filterwarnings("ignore:.*the mask of loss .* left none")
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty", "dwa"])
@pytest.mark.parametrize("mode", ["min_size", "max_size", "sequential"])
def test_tasks_from_loaders_of_their_own_train_as_one_masked_batch(weighting, mode):
    sizes = {"a": (48, 8), "b": (32, 4), "c": (20, 4)}
    data = {name: batches(1, size)[0] + k for k, (name, (size, _)) in enumerate(sizes.items())}
    loader = CombinedLoader({name: DataLoader(data[name], sizes[name][1]) for name in data}, mode)
    apart, together = Net(), Net()
    balancers = [Balancer("abc", copy.deepcopy(weighting)) for _ in range(2)]
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.05) for net in (apart, together)]
    kinds = set()
    for found, _, which in loader:
        # Where loaders come one after the other, a batch is one loader's.
        batch = {list(data)[which]: found} if mode == "sequential" else found
        here = {name: x for name, x in batch.items() if x is not None}
        kinds.add(frozenset(here))
        # One batch of all tasks, with a mask for each.
        union = torch.cat(list(here.values()))
        of = [name for name, x in here.items() for _ in x]
        losses = together.losses(together.trunk(union))
        masked = {name: Entry(loss, torch.tensor([name == o for o in of])) for name, loss in losses.items()}
        totals = [
            balancers[0](
                {name: apart.losses(apart.trunk(x))[name] for name, x in here.items()}, list(apart.trunk.parameters())
            ),
            balancers[1](masked, list(together.trunk.parameters())),
        ]
        for total, optimizer in zip(totals, optimizers, strict=True):
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    torch.testing.assert_close(parameters(apart), parameters(together), rtol=1e-5, atol=1e-6)
    one, other = (balancer.player.state_dict() for balancer in balancers)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-6, equal_nan=True, msg=name)
    assert len(kinds) == {"min_size": 1, "max_size": 3, "sequential": 3}[mode]

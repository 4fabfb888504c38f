"""Accumulation of n learns as a batch n times as large does."""

import pytest
import torch
from torch import nn

from autoloss import Balancer, Entry
from autoloss.core.need import OUTCOME
from autoloss.core.registry.lookup import registry

REQUIRED = {"vqgan": {"adversarial": "b"}, "ol_aux": {"main": "b"}, "gradient_cosine": {"main": "b"}}


def built(name):
    return registry.build("weighting", name, **REQUIRED.get(name, {}))


def learns(name):
    """Whether a weighting has state that a step moves, and its state is of the batch (FAMO looks again after the step)."""
    weighting = built(name).bind("abc")
    return bool(weighting.state_dict()) and not weighting.needs & OUTCOME and name != "fixed"


LEARNING = [name for name in registry.names("weighting") if learns(name)]


def losses_of(trunk, heads, data, mask=None):
    features = trunk(data)
    entries = {}
    for k, (name, head) in enumerate(zip("abc", heads, strict=True)):
        entries[name] = Entry((head(features).square().mean(1) + 0.1) * 10**k, mask if name == "b" else None)
    return features, entries


@pytest.mark.parametrize("at", ["features", "parameters"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighting", LEARNING)
def test_four_micro_batches_teach_what_one_batch_does(weighting, at, masked):
    if weighting == "ntk" and at == "parameters":
        pytest.skip("each micro-batch estimates the trace with random signs of its own; at features they cancel")
    torch.manual_seed(0)
    trunk, heads = nn.Linear(5, 4), [nn.Linear(4, 3) for _ in range(3)]
    whole, parts = Balancer("abc", built(weighting)), Balancer("abc", built(weighting), accumulate=4)
    for _ in range(12):
        data = torch.randn(32, 5)
        mask = torch.rand(32) > 0.4 if masked else None
        features, entries = losses_of(trunk, heads, data, mask)
        whole(entries, anchor=features if at == "features" else trunk.weight)
        for i in range(4):
            rows = slice(8 * i, 8 * i + 8)
            features, entries = losses_of(trunk, heads, data[rows], None if mask is None else mask[rows])
            parts(entries, anchor=features if at == "features" else trunk.weight)
    one, four = whole.player.weighting.state_dict(), parts.player.weighting.state_dict()
    assert whole.clock.step == parts.clock.step == 12
    for name, value in one.items():
        torch.testing.assert_close(four[name], value, rtol=1e-5, atol=1e-6, equal_nan=True, msg=name)


def test_what_learns_is_found():
    assert {"uncertainty", "gradnorm", "dwa", "imtl_l", "relobralo", "gradvac", "balancer"} <= set(LEARNING)


@pytest.mark.parametrize("close", ["watched", "told"])
@pytest.mark.parametrize("at", ["parameters", "features"])
def test_a_window_that_is_not_counted_has_the_gram_of_one_batch(close, at):
    """At parameters the gradients are held until the step: the inner products of micro-batches do not add up."""
    torch.manual_seed(0)
    x, seen = torch.randn(12, 3), []
    for parts in (1, 3):
        torch.manual_seed(0)
        trunk, head = nn.Linear(3, 4), nn.Linear(4, 2)
        optimizer = torch.optim.SGD([*trunk.parameters(), *head.parameters()], lr=0.1)
        balancer = Balancer("ab", "gradnorm", accumulate=1 if close == "watched" else None)
        weighting = balancer.player.weighting
        weighting.update = lambda signals: seen.append(signals.gram)
        if close == "watched":
            balancer.watch(optimizer)
        for part in x.chunk(parts):
            features = trunk(part)
            out = head(features)
            losses = {"a": out[:, 0].square(), "b": (out[:, 1] - 1).abs()}
            balancer(losses, anchor=trunk if at == "parameters" else features).backward()
        optimizer.step()
        if close == "told":
            balancer.stepped()
    torch.testing.assert_close(seen[1], seen[0])


def test_a_frozen_total_is_the_same_part_of_the_window():
    balancer = Balancer("ab", "equal")
    losses = {"a": torch.tensor([1.0, 2.0]), "b": Entry(torch.ones(2), torch.tensor([True, False]))}
    items = {"a": 8, "b": 4}
    expected = (1 + 2) / 8 + 1 / 4
    assert float(balancer(losses, items=items)) == pytest.approx(expected)
    with balancer.frozen():
        assert float(balancer(losses, items=items)) == pytest.approx(expected)
    balancer.eval()
    assert float(balancer(losses, items=items)) == pytest.approx(expected)
    balancer.train()
    fork = balancer.fork(torch.ones(2, 3, requires_grad=True))
    with balancer.frozen():
        forked = {"a": fork["a"][:, 0] * losses["a"], "b": Entry(fork["b"][:, 0], losses["b"].mask)}
        assert float(balancer(forked, anchor=fork, items=items).detach()) == pytest.approx(expected)

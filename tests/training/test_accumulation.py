"""Accumulation of n learns as a batch n times as large does."""

import pytest
import torch
from torch import nn

from autoloss import Balancer, Entry
from autoloss.core.registry import registry

LEARNING = ["uncertainty", "gradnorm", "dwa"]


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
    torch.manual_seed(0)
    trunk, heads = nn.Linear(5, 4), [nn.Linear(4, 3) for _ in range(3)]
    whole, parts = Balancer("abc", weighting), Balancer("abc", weighting, accumulate=4)
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


def test_everything_that_learns_is_covered_or_stateless():
    stateful = set()
    for name in ("equal", "mean", "fixed", "uncertainty", "dwa", "gradnorm", "scheduled"):
        weighting = registry.build("weighting", name).bind(["a", "b"])
        if name not in ("fixed",) and dict(weighting.named_buffers()):
            stateful.add(name)
    assert stateful == set(LEARNING)

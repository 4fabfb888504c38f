"""What a probe at the features holds at once: a gradient for each loss, and the one that is being computed."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autoloss.core.need import Need
from autoloss.probe import measure
from autoloss.probe.anchor import locate


class Peak(TorchDispatchMode):
    """Counts the bytes of every storage that operators make while it is active, and of those alive at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key, size):
        self.known.discard(key)
        self.now -= size


@pytest.mark.parametrize("needs", [Need.GRAM, Need.STATS, Need.GRAM | Need.STATS])
@pytest.mark.parametrize("size", [2, 8, 32])
def test_at_most_k_plus_1_times_the_features(size, needs):
    torch.manual_seed(0)
    trunk, heads = torch.nn.Linear(8, 256), [torch.nn.Linear(256, 1) for _ in range(size)]
    features = trunk(torch.randn(512, 8))
    losses = [head(features).square().mean() for head in heads]
    point = locate(features, [str(k) for k in range(size)], "test")
    with Peak() as peak:
        measure(losses, point, needs)
    times = peak.most / (features.numel() * features.element_size())
    assert 1 < times <= size + 1 + 0.1

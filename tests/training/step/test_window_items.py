"""Micro-batches of uneven size: the number of items of their window makes them parts of one batch."""

import pytest
import torch
from torch import nn

from autoloss import Balancer, ConfigError, Entry

HARD = {"name": "self_paced", "threshold": 2.0}  # it has no state: parts and whole choose alike


class TestItems:
    @pytest.mark.parametrize("kind", ["one", "by name", "tensor"])
    @pytest.mark.parametrize("way", ["plain", "fork", "sampled", "group"])
    def test_uneven_counts_agree_with_the_whole_batch(self, kind, way):
        torch.manual_seed(0)
        net, x, y = nn.Linear(3, 2), torch.randn(4, 8, 3), torch.randn(4, 8, 2)
        mask = torch.arange(8) < torch.tensor([8, 1, 2, 5])[:, None]
        other = torch.arange(8) < torch.tensor([1, 8, 2, 3])[:, None]
        masks = (mask, other if kind == "by name" else mask)
        count = {"a": masks[0].sum(), "b": masks[1].sum()}
        items = {"one": int(count["a"]), "by name": {k: int(v) for k, v in count.items()}, "tensor": count["a"]}[kind]
        options = {"sampled": {"sample_weighting": HARD}, "group": {"groups": {"g": ["a", "b"]}}}.get(way, {})

        def total(balancer, i, **more):
            out, anchor = net(x[i]), None
            if way == "fork":
                anchor = balancer.fork(out)
            parts = (out, out) if anchor is None else (anchor["a"], anchor["b"])
            entries = {
                name: Entry((part - y[i]).square()[..., k].flatten(), masks[k][i].flatten())
                for k, (name, part) in enumerate(zip("ab", parts, strict=True))
            }
            return balancer(entries, anchor=anchor, **more)

        total(Balancer("ab", "equal", **options), slice(0, 4)).backward()
        expected = net.weight.grad.clone()
        net.zero_grad()
        balancer = Balancer("ab", "equal", accumulate=4, **options)
        for i in range(4):
            total(balancer, slice(i, i + 1), items=items).backward()
        assert (net.weight.grad - expected).norm() <= 1e-6 * expected.norm()

    def test_gradients_at_a_fork_are_measured_without_the_share(self):
        torch.manual_seed(0)
        seen = []
        for items in (None, 24):
            balancer = Balancer("ab", "gradnorm")
            torch.manual_seed(0)
            trunk = nn.Linear(3, 4)
            fork = balancer.fork(trunk(torch.linspace(-1, 1, 24).view(8, 3)))
            losses = {name: (k + 1) * fork[name].square().mean(1) for k, name in enumerate("ab")}
            balancer(losses, anchor=fork, items=items).backward()
            seen.append(balancer.player.weighed.signals.gram)
        torch.testing.assert_close(*seen)

    def test_what_lacks_a_count_and_surgery_are_errors(self):
        with pytest.raises(ConfigError, match="lacks 'b'"):
            Balancer("ab", "equal")({"a": torch.ones(2), "b": torch.ones(2)}, items={"a": 4})
        balancer = Balancer("ab", "graddrop")
        fork = balancer.fork(torch.ones(2, 3, requires_grad=True))
        with pytest.raises(ConfigError, match="Leave `items` out"):
            balancer({name: fork[name].sum(1) for name in "ab"}, anchor=fork, items=4)

    @pytest.mark.filterwarnings("ignore:A batch should have samples")
    def test_a_window_without_an_item_is_no_nan(self):
        net = nn.Linear(2, 1)
        entry = Entry(net(torch.ones(3, 2))[:, 0], torch.zeros(3, dtype=torch.bool))
        total = Balancer("ab", "equal")({"a": net(torch.ones(3, 2))[:, 0], "b": entry}, items={"a": 3, "b": 0})
        total.backward()
        assert net.weight.grad.isfinite().all()

"""An accumulation window ends with the optimiser's step: it is seen by a hook, told, or counted."""

import copy
import gc
import pickle
import re
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from autoloss import Balancer, ConfigError, Entry
from autoloss.core.need import GRADIENTS, OUTCOME
from autoloss.core.registry.lookup import registry
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery

REQUIRED = {"vqgan": {"adversarial": "b"}, "ol_aux": {"main": "b"}, "gradient_cosine": {"main": "b"}}
SHORT = [4, 1] * 15  # the micro-batches of 30 steps: 15 epochs of 5 batches, accumulated by 4


HARD = {"name": "self_paced", "threshold": 2.0}  # it has no state: parts and whole choose alike


def built(name):
    return registry.build("weighting", name, **REQUIRED.get(name, {}))


PLAIN = [n for n in registry.names("weighting") if not built(n).needs & OUTCOME and not isinstance(built(n), Surgery)]


def setting(**options):
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    return net, torch.optim.SGD(net.parameters(), lr=0.01), Balancer("abc", **options)


def losses_of(net, x):
    out = net(x)
    return {"a": out[:, 0].square() + 0.1, "b": 10 * out[:, 1].square() + 0.1, "c": 0.1 * out[:, 2].square() + 0.1}


def run(weighting, windows, close, **options):
    """The learned state after steps of so many micro-batches, each of 8 samples, and the balancer."""
    net, optimizer, balancer = setting(weighting=weighting, **options)
    if close == "watch":
        balancer.watch(optimizer)
    for number in windows:
        for x in torch.randn(number, 8, 5):
            (balancer(losses_of(net, x), anchor=net.weight) / number).backward()
        optimizer.step()
        optimizer.zero_grad()
        if close == "told":
            balancer.stepped()
    return balancer


class TestSteps:
    @pytest.mark.parametrize("close", ["watch", "told"])
    def test_a_short_last_window_is_a_step_too(self, close):
        balancer = run("uncertainty", SHORT, close, accumulate=4 if close == "watch" else None, total_steps=30)
        assert (balancer.clock.step, balancer.clock.progress) == (30, 1.0)

    @pytest.mark.parametrize("close", ["watch", "told"])
    def test_each_window_teaches_what_one_batch_does(self, close):
        for weighting in ("uncertainty", "gradnorm", "dwa"):
            found = run(weighting, SHORT, close, accumulate=None)
            net, _, whole = setting(weighting=weighting)
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
            for number in SHORT:
                x = torch.randn(number, 8, 5).flatten(0, 1)
                whole(losses_of(net, x), anchor=net.weight).backward()
                optimizer.step()
                optimizer.zero_grad()
            if weighting == "dwa":  # its weights depend on no gradient; the others' do within a window
                for name, value in whole.player.weighting.state_dict().items():
                    torch.testing.assert_close(found.player.weighting.state_dict()[name], value, equal_nan=True)
            assert found.clock.step == whole.clock.step == 30

    @pytest.mark.parametrize("name", [n for n in PLAIN if list(built(n).bind("abc").buffers())])
    def test_every_weighting_is_updated_once_for_each_step(self, name):
        weighting = built(name)
        steps, update = [], type(weighting).update
        balancer = Balancer("abc", weighting)
        balancer.player.weighting.update = lambda signals: (steps.append(signals.step), update(weighting, signals))
        net = nn.Linear(5, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
        balancer.watch(optimizer)
        for number in (3, 1, 2):
            for x in torch.randn(number, 8, 5):
                balancer(losses_of(net, x), anchor=net.weight).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert steps == [0, 1, 2]

    def test_of_two_optimisers_the_one_that_is_named_counts(self):
        net, optimizer, balancer = setting()
        other = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
        balancer.watch(other)
        balancer.watch(optimizer)
        for _ in range(3):
            balancer(losses_of(net, torch.randn(8, 5))).backward()
            other.step()
            other.step()
            optimizer.step()
        assert balancer.clock.step == 3

    @pytest.mark.parametrize("scaled", [False, True])
    def test_a_step_that_a_scaler_skips_is_none(self, scaled):
        net, optimizer, balancer = setting(weighting="dwa")
        balancer.watch(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        seen, update = [], balancer.player.weighting.update
        balancer.player.weighting.update = lambda signals: (seen.append(signals.values.clone()), update(signals))
        expected = []
        for i in range(6):
            optimizer.zero_grad()
            values = []
            for x in torch.randn(2, 8, 5):
                losses = losses_of(net, x)
                values.append(torch.stack([v.mean() for v in losses.values()]).detach())
                scale = scaler.scale(torch.ones(()))
                with torch.autocast("cpu", torch.float16, enabled=not scaled):
                    total = balancer(losses, scale=scale if scaled else None)
                scaler.scale(total / 2).backward()
            if i in (0, 3):
                net.weight.grad[0, 0] = torch.inf
            else:
                expected.append(torch.stack(values).mean(0))
            scaler.step(optimizer)
            scaler.update()
        assert balancer.clock.step == 4
        torch.testing.assert_close(torch.stack(seen), torch.stack(expected))

    def test_a_told_step_that_was_not_made_teaches_nothing(self):
        net, _, balancer = setting(weighting="uncertainty", accumulate=None)
        before = balancer.player.weighting.state_dict()["log_variance"].clone()
        for made in (False, torch.tensor(False)):
            balancer(losses_of(net, torch.randn(8, 5))).backward()
            balancer.stepped(made)
        assert torch.equal(balancer.player.weighting.log_variance, before)
        balancer(losses_of(net, torch.randn(8, 5))).backward()
        balancer.stepped()
        assert not torch.equal(balancer.player.weighting.log_variance, before)

    def test_lbfgs_learns_once_a_step_and_minimises_one_function(self):
        net, _, balancer = setting(weighting="uncertainty")
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=10, line_search_fn="strong_wolfe")
        balancer.watch(optimizer)
        x, weights = torch.randn(8, 5), []

        def closure():
            optimizer.zero_grad()
            total = balancer(losses_of(net, x))
            total.backward()
            weights[-1].append(balancer.player.last.clone())
            return total

        for _ in range(3):
            weights.append([])
            optimizer.step(closure)
        assert balancer.clock.step == 3
        assert all(len(of) > 1 and all(torch.equal(w, of[0]) for w in of) for of in weights)
        assert not torch.equal(weights[0][0], weights[2][0])

    def test_what_cannot_be_is_said(self):
        net, optimizer, balancer = setting()
        with pytest.raises(ConfigError, match="accumulate=None"):
            balancer.stepped()
        with pytest.raises(ConfigError, match=r"call balancer\.stepped\(\)"):
            balancer.watch(net)
        balancer.watch(optimizer)
        with pytest.raises(ConfigError, match="Leave one out"):
            balancer.stepped()

    def test_a_window_that_nothing_ends_is_said(self):
        balancer = Balancer("ab", "equal", accumulate=None)
        losses = {"a": torch.ones(2), "b": torch.ones(2)}
        for _ in range(999):
            balancer(losses)
        with pytest.warns(UserWarning, match="1000 calls had none"):
            balancer(losses)

    def test_an_optimiser_keeps_no_balancer_alive_and_a_copy_watches_nothing(self):
        net, optimizer, balancer = setting()
        balancer.watch(optimizer)
        copies = [copy.deepcopy(balancer), pickle.loads(pickle.dumps(balancer))]
        balancer(losses_of(net, torch.randn(8, 5))).backward()
        optimizer.step()
        assert [one.clock.step for one in copies] == [0, 0]
        copies[0]({name: torch.ones(2) for name in "abc"})
        assert copies[0].clock.step == 1
        gone = weakref.ref(balancer)
        del balancer
        gc.collect()
        assert gone() is None
        optimizer.step()


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


class TestCheckpoints:
    @pytest.mark.parametrize("at", ["features", "parameters"])
    @pytest.mark.parametrize("watched", [False, True])
    @pytest.mark.parametrize("name", PLAIN)
    def test_one_within_a_window_changes_nothing_that_is_learned(self, name, watched, at):
        def go(save):
            torch.manual_seed(0)
            net, trunk = nn.Linear(5, 3), nn.Linear(5, 5)
            parameters = [*net.parameters(), *trunk.parameters()]
            optimizer = torch.optim.SGD(parameters, lr=1e-3)
            balancer = Balancer("abc", built(name), accumulate=4, sample_weighting="super_loss")
            if watched:
                balancer.watch(optimizer)
            for number, x in enumerate(torch.randn(12, 8, 5), 1):
                features = trunk(x)
                anchor = features if at == "features" else trunk.weight
                (balancer(losses_of(net, features), anchor=anchor) / 4).backward()
                if number == 6 and save:
                    state = {k: v.clone() for k, v in balancer.state_dict().items()}
                    balancer = Balancer("abc", built(name), accumulate=4, sample_weighting="super_loss")
                    balancer.load_state_dict(state)
                    assert torch.equal(
                        balancer.state_dict()["_extra_state"].view(torch.uint8), state["_extra_state"].view(torch.uint8)
                    )
                    if watched:
                        balancer.watch(optimizer)
                if number % 4 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            return balancer

        whole, resumed = go(False), go(True)
        assert whole.clock.step == resumed.clock.step == 3
        for key, value in whole.state_dict().items():
            torch.testing.assert_close(resumed.state_dict()[key], value, rtol=0, atol=0, equal_nan=True)

    def test_the_counters_of_0_1_0_load(self):
        balancer = Balancer("ab", accumulate=4)
        old = balancer.get_extra_state()[:-2].clone()
        old[0] = 10
        balancer.set_extra_state(old)
        assert (balancer.calls, balancer.clock.step) == (10, 2)
        for _ in range(2):
            balancer({"a": torch.ones(2), "b": torch.ones(2)})
        assert balancer.clock.step == 3


class TestAverages:
    @pytest.mark.parametrize("use_buffers", [False, True])
    @pytest.mark.parametrize("name", PLAIN)
    def test_every_weighting_survives_an_average_of_models(self, name, use_buffers):
        torch.manual_seed(0)
        model = nn.ModuleDict({"net": nn.Linear(5, 3), "balancer": Balancer("abc", built(name), unbalanced=["c"])})
        average = torch.optim.swa_utils.AveragedModel(model, use_buffers=use_buffers)
        for _ in range(3):
            losses = losses_of(model["net"], torch.randn(8, 5))
            model["balancer"](losses, anchor=model["net"].weight).backward()
            average.update_parameters(model)
        assert average.module["balancer"].player.kept.tolist() == [False, False, True]

    def test_bools_of_0_1_0_load(self):
        balancer = Balancer("ab", unbalanced=["b"])
        state = balancer.state_dict()
        state["player.unbalanced"] = torch.tensor([False, True])
        other = Balancer("ab")
        other.load_state_dict(state)
        assert other.player.kept.tolist() == [False, True]
        assert other.player.unbalanced.dtype == torch.float32


def test_what_is_tried_has_gradients_and_states():
    assert any(built(name).needs & GRADIENTS for name in PLAIN)


def listed(which):
    """The weightings that docs/migrating.md lists."""
    text = (Path(__file__).parents[3] / "docs/migrating.md").read_text()
    return set(re.findall("`(.+?)`", text.split(f"<!-- {which} -->")[1].split("<!-- -->")[0]))


def steady(name):
    """Whether the weights of a micro-batch do not depend on the micro-batch."""
    weighting = built(name).bind(("a", "b", "c"))
    if isinstance(weighting, Surgery):
        return False
    if weighting.needs & OUTCOME:
        three = torch.tensor([True] * 3)
        for buffer in weighting.buffers():  # a rule that has not learned yet gives 1
            buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(0)))
        seen = [weighting(Signals(("a", "b", "c"), torch.tensor(v), three)) for v in ([1.0, 2, 3], [5.0, 1, 0.1])]
        return torch.equal(*seen)
    worst = 0.0
    for seed in range(2):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        whole, parts = (Balancer("abc", built(name), accumulate=n, total_steps=10) for n in (1, 4))
        for _ in range(4):
            x, found = torch.randn(32, 5), []
            for balancer, cuts in ((whole, [x]), (parts, x.chunk(4))):
                net.zero_grad()
                for cut in cuts:
                    losses = {n: 10.0**k * v for k, (n, v) in enumerate(losses_of(net, cut).items())}
                    balancer(losses, anchor=net[0].weight, items=32).backward()
                found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
            worst = max(worst, float((found[0] - found[1]).norm() / found[0].norm()))
    return worst < 1e-5


@pytest.mark.parametrize("name", registry.names("weighting"))
def test_the_documents_say_which_gradients_of_a_window_are_those_of_one_batch(name):
    assert (name in listed("exact"), name in listed("own")) == (steady(name), not steady(name))

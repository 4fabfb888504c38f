"""An accumulation window ends with the optimiser's step: it is seen by a hook, told, or counted."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from autoloss import Balancer, ConfigError
from tests.training.step.windows import PLAIN, built, losses_of

SHORT = [4, 1] * 15  # the micro-batches of 30 steps: 15 epochs of 5 batches, accumulated by 4


def setting(**options):
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    return net, torch.optim.SGD(net.parameters(), lr=0.01), Balancer("abc", **options)


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

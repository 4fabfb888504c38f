"""States within a window: checkpoints, averages of models, and those of 0.1.0."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.need import GRADIENTS
from tests.training.step.windows import PLAIN, built, losses_of


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

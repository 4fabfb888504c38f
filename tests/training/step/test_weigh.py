"""The step: the total's gradient is that of the weighted sum, exactly."""

import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from autoloss import Balancer, Entry, Weighting
from autoloss.core.errors import (
    AutolossError,
    ConfigError,
    EmptySelectionWarning,
    NonFiniteError,
    SignalError,
    UnknownNameError,
)


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(5, 4), nn.ModuleList([nn.Linear(4, 3) for _ in range(3)])


def step(trunk, heads, data=None):
    features = trunk(torch.linspace(-1, 1, 40).view(8, 5) if data is None else data)
    losses = {
        name: head(features).square().mean(1) * 10**k for k, (name, head) in enumerate(zip("abc", heads, strict=True))
    }
    return features, losses


class Doubling(Weighting):
    """1, 2, 4, ... whatever is measured."""

    def forward(self, signals):
        return 2.0 ** torch.arange(len(signals.names))


@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "gradnorm", "dwa", Doubling()])
def test_the_gradient_of_the_step_is_that_of_the_weighted_sum(weighting):
    trunk, heads = model()
    balancer = Balancer("abc", weighting)
    for _ in range(3):
        features, losses = step(trunk, heads)
        total = balancer(losses, anchor=features)
        manual = sum(balancer.weights[name] * loss.mean() for name, loss in losses.items())
        parameters = [*trunk.parameters(), *heads.parameters()]
        ours = torch.autograd.grad(total, parameters, retain_graph=True)
        theirs = torch.autograd.grad(manual, parameters)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)


def test_base_weights_and_groups_reach_the_total():
    balancer = Balancer("abc", Doubling(), base={"b": 0.1, "ab": 3}, groups={"ab": ["a", "b"]})
    trunk, heads = model()
    _, losses = step(trunk, heads)
    total = balancer(losses)
    assert balancer.weights == pytest.approx({"a": 3.0, "b": 0.3, "c": 2.0})
    means = {name: float(loss.detach().mean()) for name, loss in losses.items()}
    assert float(total.detach()) == pytest.approx(3 * means["a"] + 0.3 * means["b"] + 2 * means["c"], rel=1e-5)


def test_a_loss_that_does_not_reach_the_anchor_keeps_its_base_weight():
    trunk, heads = model()
    balancer = Balancer("abc", "gradnorm", base={"c": 1e-3})
    for _ in range(20):
        features, losses = step(trunk, heads)
        losses["c"] = heads[2].weight.square().sum()
        balancer(losses, anchor=features)
    weights = balancer.weights
    assert weights["c"] == pytest.approx(1e-3)
    assert weights["a"] > 1.2
    assert weights["a"] + weights["b"] == pytest.approx(2)


@pytest.mark.parametrize("how", ["argument", "entry"])
def test_an_unbalanced_loss_is_not_shown_to_the_weighting(how):
    trunk, heads = model()
    balancer = Balancer("abc", "gradnorm", base={"c": 0.5}, unbalanced=["c"] if how == "argument" else ())
    for _ in range(5):
        features, losses = step(trunk, heads)
        if how == "entry":
            losses["c"] = Entry(losses["c"], balanced=False)
        balancer(losses, anchor=features)
    assert balancer.weights["c"] == 0.5
    assert not torch.isfinite(balancer.player.weighting.initial[2])


def test_a_state_dict_of_0_1_0_loads():
    old, new = (Balancer(["a", "b"], "gradnorm", unbalanced=given) for given in (["b"], []))
    state = old.state_dict()
    state["player.apart"] = state.pop("player.unbalanced")
    new.load_state_dict(state)
    assert new.player.unbalanced.tolist() == [False, True]


def test_an_absent_loss_is_left_out_and_moves_no_state():
    trunk, heads = model()
    balancer = Balancer("abc", "uncertainty")
    for present in (True, False, False):
        _, losses = step(trunk, heads)
        before = balancer.player.weighting.log_variance.clone()
        if not present:
            losses["b"] = None if before[0] < 0.5 else losses["b"]
        total = balancer(losses)
        assert torch.isfinite(total)
        moved = balancer.player.weighting.log_variance != before
        assert moved.tolist() == [True, present, True]


def test_a_mask_that_selects_nothing_is_a_zero_loss_and_one_warning():
    balancer, weight = Balancer("ab"), torch.ones(2, requires_grad=True)
    for step in range(3):
        values = weight[0] * torch.tensor([1.0, 2.0])
        losses = {"a": weight[1] * torch.ones(2), "b": Entry(values, torch.zeros(2, dtype=torch.bool))}
        with (
            pytest.warns(EmptySelectionWarning, match="the mask of loss 'b' left none") if step == 0 else nullcontext()
        ):
            total = balancer(losses)
        (gradient,) = torch.autograd.grad(total, weight)
        assert total.isfinite()
        assert gradient[0] == 0


def test_a_nan_item_behind_a_mask_is_not_an_error():
    balancer = Balancer(["a", "b"], "uncertainty")
    x = torch.ones(3, requires_grad=True)
    total = balancer({"a": Entry(x * torch.tensor([1, float("nan"), 1]), torch.tensor([True, False, True])), "b": x})
    assert torch.isfinite(total)


def test_validation_and_frozen_reuse_the_last_weights_and_learn_nothing():
    trunk, heads = model()
    balancer = Balancer("abc", "uncertainty")
    for _ in range(5):
        balancer(step(trunk, heads)[1])
    before, weights, calls = dict(balancer.state_dict()), balancer.weights, balancer.calls
    before = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in before.items()}
    _, losses = step(trunk, heads)
    with balancer.frozen():
        inside = balancer(losses)
        inside.backward(retain_graph=True)
    balancer.eval()
    evaluated = balancer(losses)
    balancer.train()
    with torch.no_grad():
        silent = balancer(losses)
    expected = sum(weights[name] * float(loss.detach().mean()) for name, loss in losses.items())
    assert [float(x.detach()) for x in (inside, evaluated, silent)] == pytest.approx([expected] * 3, rel=1e-5)
    after = balancer.state_dict()
    assert balancer.calls == calls
    assert all(torch.equal(after[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


def test_a_nan_loss_is_named_with_its_step():
    balancer = Balancer(["a", "b"], "uncertainty")
    good = {"a": torch.ones(()), "b": torch.ones(())}
    balancer(good)
    before = balancer.player.weighting.log_variance.clone()
    with pytest.raises(NonFiniteError, match="but loss 'b' is nan at step 1"):
        balancer({**good, "b": torch.tensor(float("nan"))})
    assert torch.equal(balancer.player.weighting.log_variance, before)


def test_skip_goes_on_and_counts():
    balancer = Balancer(["a", "b"], "uncertainty", on_nonfinite="skip")
    x = torch.ones((), requires_grad=True)
    balancer({"a": x, "b": x})
    before = balancer.player.weighting.log_variance.clone()
    total = balancer({"a": x * float("inf"), "b": x})
    total.backward()
    assert x.grad is None
    assert balancer.skipped == 1
    assert torch.equal(balancer.player.weighting.log_variance, before)
    balancer({"a": x, "b": x}).backward()
    assert x.grad is not None


def test_a_negative_loss_is_an_error_for_a_weighting_that_takes_logarithms():
    class Logs(Weighting):
        positive = True

        def forward(self, signals):
            return 1 / signals.values

    balancer = Balancer(["a", "b"], Logs())
    with pytest.raises(AutolossError, match="needs losses of at least 0, but loss 'a' is -1 at step 0"):
        balancer({"a": torch.tensor(-1.0), "b": torch.tensor(1.0)})


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Balancer([]), ConfigError, "at least one loss"),
        (lambda: Balancer(["a", "a"]), ConfigError, "distinct names"),
        (lambda: Balancer(["a"], "nope"), UnknownNameError, "No weighting is called 'nope'"),
        (lambda: Balancer(["a"], {"alpha": 1}), ConfigError, "must have a name"),
        (lambda: Balancer(["a"], {"name": "fixed", "weights": {"b": 1}}), ConfigError, "there is no loss 'b'"),
        (lambda: Balancer(["a"], accumulate=0), ConfigError, "accumulate=0"),
        (lambda: Balancer(["a"], on_nonfinite="ignore"), ConfigError, "one of raise, skip"),
        (lambda: Balancer(["a"], unbalanced=["z"]), UnknownNameError, "No loss is called 'z'"),
        (lambda: Balancer(["a"])({"y": torch.ones(())}), UnknownNameError, "No loss is called 'y'"),
        (
            lambda: Balancer(["a"], "gradnorm")({"a": torch.ones(())}),
            SignalError,
            "'gradnorm' needs gradients at an anchor",
        ),
        (lambda: Balancer(["a"])({}), ConfigError, "returned none"),
    ],
)
def test_mistakes_are_one_sentence(call, error, says):
    with pytest.raises(error, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_undeclared_needs_crash():
    class Sneaky(Weighting):
        def forward(self, signals):
            return signals.gram.diagonal()

    with pytest.raises(SignalError, match=r"Add Need.GRAM to `needs`"):
        Balancer(["a"], Sneaky())({"a": torch.ones(())})


def test_a_plain_loop_imports_no_lightning():
    code = (
        "import sys, torch, autoloss; b = autoloss.Balancer(['a'], 'gradnorm'); x = torch.ones(2, requires_grad=True) * 1;"
        "b({'a': x.sum()}, anchor=x); print([m for m in ('pytorch_lightning', 'hydra', 'optuna') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"

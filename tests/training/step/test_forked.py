"""A step through a fork: the features get the weighted gradient, heads their own, and the state learns the same."""

import csv
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from autoloss import Balancer, Entry, Need, Weighting
from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, NonFiniteError, SignalError
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable
from autoloss.training.step.player import Player
from autoloss.weightings.gradnorm import Gradnorm

NAMES = "abc"
METHODS = ["mgda", "pcgrad", "gradnorm", "uncertainty", "balancer", "smooth_tchebycheff"]


@pytest.fixture
def net():
    """Heads that oppose each other, so that methods have something to do."""
    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(5, 4), **{name: nn.Linear(4, 3) for name in NAMES}})
    with torch.no_grad():
        for name, bias in {"b": 2.0, "c": -1.5}.items():
            net[name].weight.copy_(net["a"].weight + 0.3 * net[name].weight)
            net[name].bias.fill_(bias)
    return net


def batches(steps, size=8):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 5, generator=generator) for _ in range(steps)]


def losses_of(net, of):
    return {n: net[n](of[n]).square().mean(1) * 2.0**k for k, n in enumerate(NAMES)}


def through_fork(net, balancer, data, change=lambda losses: losses, **options):
    """One step; the total, the features (which keep their gradient), and the losses."""
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    losses = change(losses_of(net, fork))
    return SimpleNamespace(total=balancer(losses, anchor=fork, **options), features=features, losses=losses)


def gradients_apart(net, data, names=NAMES):
    """The gradient of each loss at the features, by a backward of its own."""
    features = net["trunk"](data)
    losses = losses_of(net, dict.fromkeys(NAMES, features))
    return {n: torch.autograd.grad(losses[n].mean(), features, retain_graph=True)[0] for n in names}


def expected(net, data, weights):
    return sum(weights[n] * g for n, g in gradients_apart(net, data).items())


def state_of(balancer):
    return {name: value.clone() for name, value in balancer.player.state_dict().items()}


@pytest.mark.parametrize("weighting", METHODS)
def test_the_features_get_the_weighted_gradient_and_the_state_learns_as_ever(net, weighting):
    forked, plain = Balancer(NAMES, weighting), Balancer(NAMES, weighting)
    for data in batches(4):
        step = through_fork(net, forked, data)
        step.total.backward()
        features = net["trunk"](data)
        plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
        assert forked.weights == pytest.approx(plain.weights, rel=1e-4)
        torch.testing.assert_close(step.features.grad, expected(net, data, forked.weights), rtol=1e-4, atol=1e-6)
    for name, value in state_of(plain).items():
        torch.testing.assert_close(state_of(forked)[name], value, rtol=1e-4, atol=1e-6, equal_nan=True, msg=name)
    assert forked.clock.step == 4


def test_the_weights_are_not_all_ones(net):
    """Otherwise the test above would hold for a plain sum."""
    for weighting in METHODS:
        balancer = Balancer(NAMES, weighting)
        for data in batches(4):
            through_fork(net, balancer, data).total.backward()
        assert max(abs(w - 1) for w in balancer.weights.values()) > 1e-3, weighting


@pytest.mark.parametrize("weighting", ["mgda", "uncertainty", "graddrop"])
def test_heads_get_the_gradient_of_their_loss_with_its_base_weight(net, weighting):
    balancer = Balancer(NAMES, weighting, base={"b": 0.3})
    for data in batches(3):
        net.zero_grad()
        through_fork(net, balancer, data).total.backward()
        losses = losses_of(net, dict.fromkeys(NAMES, net["trunk"](data).detach()))
        for name, base in {"a": 1.0, "b": 0.3, "c": 1.0}.items():
            parameters = list(net[name].parameters())
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(losses[name].mean(), parameters), strict=True
            ):
                torch.testing.assert_close(parameter.grad, base * gradient)


def test_the_total_is_that_of_the_base_weights(net):
    balancer = Balancer(NAMES, "uncertainty", base={"b": 0.3})
    step = through_fork(net, balancer, batches(1)[0])
    means = {name: float(loss.detach().mean()) for name, loss in step.losses.items()}
    assert float(step.total.detach()) == pytest.approx(means["a"] + 0.3 * means["b"] + means["c"], rel=1e-6)


@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "uncertainty"])
def test_base_weights_and_groups_mean_what_they_mean_elsewhere(net, weighting):
    options = {"base": {"a": 0.5, "b": 0.3, "pair": 2.0}, "groups": {"pair": ["a", "c"]}}
    forked, plain = Balancer(NAMES, weighting, **options), Balancer(NAMES, weighting, **options)
    for data in batches(3):
        step = through_fork(net, forked, data)
        step.total.backward()
        features = net["trunk"](data)
        plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
        assert forked.weights == pytest.approx(plain.weights, rel=1e-4)
        torch.testing.assert_close(step.features.grad, expected(net, data, forked.weights), rtol=1e-4, atol=1e-6)


def test_a_base_weight_of_zero_leaves_a_loss_out(net):
    balancer = Balancer(NAMES, "mgda", base={"b": 0.0})
    step = through_fork(net, balancer, batches(1)[0])
    step.total.backward()
    assert balancer.weights["b"] == 0.0
    assert step.features.grad.isfinite().all()
    assert balancer.weights["a"] + balancer.weights["c"] == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("weighting", ["gradnorm", "imtl_g", "uncertainty"])
def test_a_base_weight_of_zero_hides_a_loss_from_the_weighting(net, weighting):
    """The gradient that comes to its copy is 0, and says nothing of the loss."""
    balancer, without = Balancer(NAMES, weighting, base={"b": 0.0}), Balancer("ac", weighting)
    for data in batches(4):
        through_fork(net, balancer, data).total.backward()
        fork = without.fork(net["trunk"](data))
        without(
            {name: losses_of(net, {**dict.fromkeys(NAMES, fork.features), **fork})[name] for name in "ac"}, fork
        ).backward()
        assert balancer.player.unbalanced.tolist() == [False, True, False]
    assert [balancer.weights[name] for name in "ac"] == pytest.approx([without.weights[name] for name in "ac"])


def test_losses_of_a_group_may_share_a_head(net):
    balancer = Balancer(["a", "a_too", "b"], "mgda", groups={"both": ["a", "a_too"]})
    data = batches(1)[0]
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    out = net["a"](fork["a"])
    balancer(
        {"a": out.square().mean(), "a_too": out.abs().mean(), "b": net["b"](fork["b"]).square().mean()}, fork
    ).backward()
    again = net["trunk"](data)
    out = net["a"](again)
    w = balancer.weights
    weighted = w["a"] * out.square().mean() + w["a_too"] * out.abs().mean() + w["b"] * net["b"](again).square().mean()
    assert w["a"] == w["a_too"]
    torch.testing.assert_close(features.grad, torch.autograd.grad(weighted, again)[0])


def test_a_group_comes_through_the_fork_as_a_whole(net):
    balancer = Balancer(["a", "kl", "b"], "mgda", groups={"both": ["a", "kl"]})
    fork = balancer.fork(net["trunk"](batches(1)[0]))
    losses = {"a": fork["a"].sum(), "kl": net["trunk"].weight.square().sum(), "b": fork["b"].sum()}
    with pytest.raises(SignalError, match="'kl' of group 'both' does not. Take it out of the group"):
        balancer(losses, anchor=fork)


@pytest.mark.parametrize("scale", [1024.0, 2.0**-10])
@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "graddrop"])
def test_a_scaled_total_gives_scaled_gradients_and_the_same_state(net, weighting, scale):
    one, other = Balancer(NAMES, weighting), Balancer(NAMES, weighting)
    for data in batches(3):
        plain, scaled = through_fork(net, one, data), through_fork(net, other, data)
        plain.total.backward()
        (scale * scaled.total).backward()
        assert torch.equal(scaled.features.grad, scale * plain.features.grad)
    for name, value in state_of(one).items():
        assert torch.equal(state_of(other)[name], value), name


@pytest.mark.parametrize("weighting", ["pcgrad", "graddrop"])
def test_a_total_times_zero_has_gradients_of_zero(net, weighting):
    step = through_fork(net, Balancer(NAMES, weighting), batches(1)[0])
    (0.0 * step.total).backward()
    assert torch.equal(step.features.grad, torch.zeros_like(step.features))


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty", "dwa", "balancer"])
def test_four_micro_batches_teach_what_one_batch_does(net, weighting, mean, together):
    """Whether each has a backward of its own or all have one, and whether the totals are divided or not."""
    whole, parts = Balancer(NAMES, weighting), Balancer(NAMES, weighting, accumulate=4)
    for data in batches(4, size=16):
        through_fork(net, whole, data).total.backward()
        totals = []
        for part in data.split(4):
            total = through_fork(net, parts, part).total / (4 if mean else 1)
            totals.append(total) if together else total.backward()
        if together:
            sum(totals).backward()
    for name, value in state_of(whole).items():
        if name.startswith("weighting"):
            torch.testing.assert_close(state_of(parts)[name], value, rtol=1e-4, atol=1e-6, equal_nan=True, msg=name)
    assert whole.clock.step == parts.clock.step == 4


def test_the_state_moves_after_the_last_backward_of_the_window_and_only_then(net):
    balancer = Balancer(NAMES, "gradnorm", accumulate=2)
    first, second = batches(2)
    before = state_of(balancer)
    through_fork(net, balancer, first).total.backward()
    late = through_fork(net, balancer, second).total
    assert torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])
    late.backward()
    assert not torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])


def test_totals_that_wait_for_their_backward_do_not_mix(net):
    """Two steps are under way at once; each learns from its own signals."""
    one, other = Balancer(NAMES, "gradnorm"), Balancer(NAMES, "gradnorm")
    first, second = batches(2)
    totals = [through_fork(net, one, data).total for data in (first, second)]
    for total in totals:
        total.backward()
    for data in (first, second):
        through_fork(net, other, data).total.backward()
    torch.testing.assert_close(state_of(one), state_of(other))


def test_a_step_without_a_backward_teaches_nothing(net):
    one, other = Balancer(NAMES, "gradnorm"), Balancer(NAMES, "gradnorm")
    first, second = batches(2)
    through_fork(net, one, second)
    through_fork(net, one, first).total.backward()
    through_fork(net, other, first).total.backward()
    assert torch.equal(state_of(one)["weighting.weights"], state_of(other)["weighting.weights"])


def test_a_loss_that_comes_through_nothing_stands_apart(net):
    names = [*NAMES, "kl"]
    balancer, without = Balancer(names, "mgda", base={"kl": 0.1}), Balancer(NAMES, "mgda")
    for data in batches(3):
        net.zero_grad()
        step = through_fork(net, balancer, data, lambda losses: losses | {"kl": net["trunk"].bias.square().sum()})
        step.total.backward()
        direct = net["trunk"].bias.grad - step.features.grad.sum(0)
        torch.testing.assert_close(direct, 0.2 * net["trunk"].bias.detach())
        through_fork(net, without, data).total.backward()
        assert balancer.weights == pytest.approx({**without.weights, "kl": 0.1}, rel=1e-5)


@pytest.mark.parametrize("weighting", ["mgda", "graddrop"])
@pytest.mark.parametrize("past", [False, True])
def test_an_unbalanced_loss_keeps_its_base_weight_by_either_way(net, weighting, past):
    balancer = Balancer(NAMES, weighting, base={"b": 0.3}, unbalanced=["b"])
    without = Balancer("ac", weighting)
    data = batches(1)[0]
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    of = {**fork, "b": features} if past else fork
    balancer(losses_of(net, of), anchor=fork).backward()
    assert balancer.weights["b"] == pytest.approx(0.3)
    other = net["trunk"](data)
    other.retain_grad()
    fork = without.fork(other)
    without({n: losses_of(net, {**fork, "b": fork["a"]})[n] for n in "ac"}, anchor=fork).backward()
    b = gradients_apart(net, data)["b"]
    torch.testing.assert_close(features.grad, other.grad + 0.3 * b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "pcgrad", "graddrop"])
def test_an_absent_loss_takes_no_part(net, weighting):
    balancer, without = Balancer(NAMES, weighting), Balancer("ac", weighting)
    data = batches(1)[0]
    with_none = through_fork(net, balancer, data, lambda losses: losses | {"b": None})
    with_none.total.backward()
    features = net["trunk"](data)
    features.retain_grad()
    fork = without.fork(features)
    losses = losses_of(net, {**fork, "b": fork["a"]})
    without({n: losses[n] for n in "ac"}, anchor=fork).backward()
    torch.testing.assert_close(with_none.features.grad, features.grad)
    assert {n: balancer.weights[n] for n in "ac"} == pytest.approx(without.weights)
    masked = through_fork(net, Balancer(NAMES, weighting), data, lambda x: x | {"b": Entry(x["b"], torch.zeros(8) > 0)})
    masked.total.backward()
    torch.testing.assert_close(masked.features.grad, features.grad)


def test_every_n_measures_now_and_then(net, tmp_path):
    wrapped = {"name": "mgda", "wrap": {"every_n": {"n": 2}}}
    forked = Balancer(NAMES, wrapped, log_dir=tmp_path, record_every=1)
    plain = Balancer(NAMES, wrapped)
    for data in batches(4):
        step = through_fork(net, forked, data)
        step.total.backward()
        features = net["trunk"](data)
        plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
        assert forked.weights == pytest.approx(plain.weights, rel=1e-5)
        torch.testing.assert_close(step.features.grad, expected(net, data, forked.weights), rtol=1e-4, atol=1e-6)
    forked.close()


def test_autocast_is_off_where_gradients_meet(net):
    forked, plain = Balancer(NAMES, "pcgrad"), Balancer(NAMES, "pcgrad")
    for data in batches(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            step = through_fork(net, forked, data)
            assert step.features.dtype == torch.bfloat16
            step.total.backward()
            features = net["trunk"](data)
            plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
        assert step.features.grad.dtype == torch.bfloat16
        assert max(forked.weights.values()) > 1.01
        assert forked.weights == pytest.approx(plain.weights, rel=1e-4)


def test_bfloat16_gradients_are_added_up_in_float32(net):
    """1 and 127 of 1/256: one after the other in bfloat16 they would stay 1."""
    balancer = Balancer([str(k) for k in range(128)], "equal")
    leaf = torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    fork = balancer.fork(leaf)
    balancer({n: (fork[n] * (1.0 if n == "0" else 1 / 256)).float().sum() for n in fork}, anchor=fork).backward()
    assert float(leaf.grad) == pytest.approx(1 + 127 / 256, rel=2**-8)


def test_float64_features_stay_float64():
    balancer = Balancer(["a", "b"], "equal")
    leaf = torch.ones(3, dtype=torch.float64, requires_grad=True)
    fork = balancer.fork(leaf)
    balancer({"a": (fork["a"] / 3).sum(), "b": fork["b"].sum() * 1e-12}, anchor=fork).backward()
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 1 / 3 + 1e-12), rtol=1e-15, atol=0)


def test_weights_and_record_hold_what_the_features_got(net, tmp_path):
    balancer = Balancer(NAMES, "pcgrad", log_dir=tmp_path, record_every=1)
    applied = []
    for data in batches(3):
        before = balancer.weights
        total = through_fork(net, balancer, data).total
        assert balancer.weights == before
        total.backward()
        applied.append(balancer.weights)
    balancer.close()
    assert len({tuple(weights.values()) for weights in applied}) == 3
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{n: float(row[f"loss_weight/{n}"]) for n in NAMES} for row in rows] == [pytest.approx(w) for w in applied]
    norms = {n: float(g.norm()) for n, g in gradients_apart(net, batches(3)[2]).items()}
    assert {n: float(rows[2][f"grad_norm/{n}"]) for n in NAMES} == pytest.approx(norms, rel=1e-4)


@pytest.mark.parametrize("how", ["frozen", "eval"])
def test_frozen_uses_the_last_weights_again(net, how):
    balancer = Balancer(NAMES, "pcgrad", base={"b": 0.5})
    first, second = batches(2)
    through_fork(net, balancer, first).total.backward()
    before, weights = state_of(balancer), balancer.weights
    if how == "eval":
        balancer.eval()
        step = through_fork(net, balancer, second)
    else:
        with balancer.frozen():
            step = through_fork(net, balancer, second)
    (7 * step.total).backward()
    torch.testing.assert_close(step.features.grad, 7 * expected(net, second, weights), rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in state_of(balancer).items())
    with torch.no_grad():
        assert not through_fork_without_graph(net, balancer, second).requires_grad


def through_fork_without_graph(net, balancer, data):
    fork = balancer.fork(net["trunk"](data))
    return balancer(losses_of(net, fork), anchor=fork)


def test_a_frozen_surgery_has_no_weights_to_use_again(net):
    balancer = Balancer(NAMES, "graddrop")
    with balancer.frozen():
        step = through_fork(net, balancer, batches(1)[0])
    with pytest.raises(SignalError, match="must have weights to use again, but 'graddrop' has none"):
        step.total.backward()


def test_a_look_ahead_sees_the_step_through_the_fork(net):
    forked, plain = Balancer(NAMES, "famo"), Balancer(NAMES, "famo")
    other = nn.ModuleDict({name: nn.Linear(m.in_features, m.out_features) for name, m in net.items()})
    for data in batches(3):
        for balancer, of in ((forked, True), (plain, False)):
            other.load_state_dict(net.state_dict())
            other.zero_grad()
            optimizer = torch.optim.SGD(other["trunk"].parameters(), lr=0.01)

            def losses(module, balancer=balancer, of=of, data=data):
                features = module["trunk"](data)
                fork = balancer.fork(features) if of else None
                return losses_of(module, fork or dict.fromkeys(NAMES, features)), fork

            with balancer.lookahead(other, train=lambda module, losses=losses: losses(module)[0]):
                found, fork = losses(other)
                balancer(found, anchor=fork).backward()
                optimizer.step()
    # The steps differ in nothing, since heads are not stepped.
    for name, value in state_of(plain).items():
        torch.testing.assert_close(state_of(forked)[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_that_is_left_out_needs_no_backward(net):
    balancer = Balancer(NAMES, "gradnorm", on_nonfinite="skip")
    first, second = batches(2)
    bad = through_fork(net, balancer, first, lambda losses: losses | {"b": losses["b"] / 0})
    bad.total.backward()
    assert bad.features.grad is None
    through_fork(net, balancer, second).total.backward()
    assert balancer.skipped == 1
    assert balancer.clock.step == 2
    with pytest.raises(NonFiniteError, match="'b' is inf|'b' is nan"):
        through_fork(net, Balancer(NAMES, "mgda"), first, lambda losses: losses | {"b": losses["b"] / 0})


def test_gradients_that_are_not_finite_reach_the_features_and_not_the_state(net):
    """As a scaler wants it, which then leaves the step out."""
    balancer = Balancer(NAMES, "gradnorm")
    step = through_fork(net, balancer, batches(1)[0])
    before = state_of(balancer)
    (1e38 * step.total * 10).backward()
    assert not step.features.grad.isfinite().all()
    assert torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])


class Flipping(Surgery):
    """Takes the first gradient backwards, and asks for the Gram matrix."""

    needs = Need.VALUES | Need.GRAM
    seen = None

    def combine(self, gradients, signals):
        self.seen = (gradients.clone(), signals.gram.clone())
        return gradients[1:].sum(0) - gradients[0]


def test_a_surgery_gets_gradients_with_base_weights_and_without_the_scale(net):
    surgery = Flipping()
    balancer = Balancer(NAMES, surgery, base={"b": 0.5})
    data = batches(1)[0]
    step = through_fork(net, balancer, data)
    (3 * step.total).backward()
    gradients, gram = surgery.seen
    apart = gradients_apart(net, data)
    torch.testing.assert_close(gradients, torch.stack([apart["a"], 0.5 * apart["b"], apart["c"]]))
    rows = torch.stack([apart[n].flatten() for n in NAMES])
    torch.testing.assert_close(gram, rows @ rows.T)
    torch.testing.assert_close(step.features.grad, 3 * (0.5 * apart["b"] + apart["c"] - apart["a"]))
    assert balancer.weights == {"a": 1.0, "b": 0.5, "c": 1.0}


def test_a_surgery_without_a_fork_is_an_error(net):
    features = net["trunk"](batches(1)[0])
    losses = losses_of(net, dict.fromkeys(NAMES, features))
    for anchor in (None, features):
        with pytest.raises(SignalError, match="'graddrop' needs a fork, .* fork = balancer.fork\\(features\\)"):
            Balancer(NAMES, "graddrop")(losses, anchor=anchor)


def test_a_surgery_cannot_be_wrapped():
    with pytest.raises(ConfigError, match="'ema' is around 'graddrop', which has none"):
        Balancer(NAMES, {"name": "graddrop", "wrap": "ema"})


class Careless(Weighting):
    def forward(self, signals):
        return torch.where(signals.present, 2.0, torch.nan)


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_answered_for_an_absent_loss_is_ignored(net, masked):
    data, nobody = batches(1)[0], torch.zeros(8, dtype=torch.bool)

    def without_b(losses):
        return losses | {"b": Entry(losses["b"], nobody) if masked else None}

    step = through_fork(net, Balancer(NAMES, Careless()), data, without_b)
    step.total.backward()
    torch.testing.assert_close(step.features.grad, expected(net, data, {"a": 2.0, "b": 0.0, "c": 2.0}))


def test_what_is_answered_for_a_loss_that_stands_apart_is_ignored(net):
    data = batches(1)[0]
    step = through_fork(net, Balancer(NAMES, Careless(), unbalanced=["b"]), data)
    step.total.backward()
    torch.testing.assert_close(step.features.grad, expected(net, data, {"a": 2.0, "b": 1.0, "c": 2.0}))


def test_a_commit_leaves_out_what_had_no_backward(net):
    one, other = Player(NAMES, Gradnorm()), Player(NAMES, Gradnorm())
    first, second = batches(2)
    for player, of in ((one, (first, second)), (other, (second,))):
        for data in of:
            fork = player.fork(net["trunk"](data))
            weighed = player.step(LossTable(losses_of(net, fork), fork), Clock())
            if data is second:
                weighed.total.backward()
        player.commit()
    assert not torch.equal(one.weighting.weights, torch.ones(3))
    assert torch.equal(one.weighting.weights, other.weighting.weights)

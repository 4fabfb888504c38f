"""Base weights that follow progress."""

import csv
import json

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, NonFiniteError, UnknownNameError
from autoloss.core.terms import Terms
from autoloss.meta.distill import distill
from autoloss.report import read
from autoloss.report.explain import findings
from autoloss.training.replay import replay
from autoloss.training.step.build import build_weighting


@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "gradnorm", "dwa"])
def test_the_record_holds_the_effective_weight_of_an_annealed_loss(weighting, tmp_path):
    torch.manual_seed(0)
    net = nn.Linear(3, 4)
    base = {"kl": "linear(0,0.5,0,0.5)"}
    with Balancer(
        ["rec", "kl"], weighting, base=base, unbalanced=["kl"], total_steps=11, log_dir=tmp_path, record_every=1
    ) as balancer:
        for step in range(11):
            features = net(torch.randn(8, 3))
            losses = {"rec": features.square().mean(), "kl": features.abs().mean()}
            total = balancer(losses, anchor=features)
            expected = min(0.5, step / 11)
            assert balancer.weights["kl"] == pytest.approx(expected)
            parts = [balancer.weights[name] * loss for name, loss in losses.items()]
            torch.testing.assert_close(total, sum(parts))
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        found = [float(row["loss_weight/kl"]) for row in csv.DictReader(file)]
    assert found == pytest.approx([min(0.5, step / 11) for step in range(11)])
    about = json.loads((tmp_path / "record.json").read_text())["players"][""]
    assert about["base"]["kl"] == 0.5
    assert about["base_schedules"] == base


def test_a_learned_weight_is_multiplied():
    balancer = Balancer(
        ["rec", "kl"], {"name": "fixed", "weights": {"rec": 1.0, "kl": 3.0}}, base={"kl": "linear(0,1)"}, total_steps=4
    )
    for step in range(4):
        balancer({"rec": torch.ones(()), "kl": torch.ones(())})
        assert balancer.weights == pytest.approx({"rec": 1.0, "kl": 3.0 * step / 4})


def test_a_group_is_summed_with_the_present_factors():
    terms = Terms(["a", "b", "c"], {"b": "linear(0,2)", "pair": 0.5}, {"pair": ["a", "b"]})
    assert terms.base == (0.5, 0.0, 1.0)
    terms.follow(0.5)
    assert terms.base == (0.5, 0.5, 1.0)
    assert terms.spread(torch.tensor([2.0, 3.0])).tolist() == [1.0, 1.0, 3.0]
    assert terms.collect(torch.tensor([2.0, 4.0, 1.0])).tolist() == [3.0, 1.0]


def test_what_cannot_be_followed_is_an_error():
    balancer = Balancer({"rec": 1.0, "kl": "linear(0,1)"}, "equal")
    with pytest.raises(ConfigError, match=r"Base weight kl=linear\(0,1\) follows progress, so the length of training"):
        balancer({"rec": torch.ones(()), "kl": torch.ones(())})
    with pytest.raises(ConfigError, match="A base weight must be finite and not negative"):
        Terms(["kl"], {"kl": "linear(1,-1)"})
    with pytest.raises(UnknownNameError, match="Did you mean 'linear'"):
        Terms(["kl"], {"kl": "liner(0,1)"})


def test_a_loss_that_is_0_for_long_is_named_with_the_remedy():
    class Inverse(type(Balancer(["a"], "equal").player.weighting)):
        def forward(self, signals):
            return 1 / signals.values

    balancer = Balancer(["a", "b"], Inverse())
    with pytest.raises(NonFiniteError, match="A loss must not be 0 for long, but loss 'b' is, .* Give None where"):
        balancer({"a": torch.ones(()), "b": torch.zeros(())})


def test_a_fork_cannot_say_that_a_loss_with_a_base_weight_of_0_stopped_to_reach_it(recwarn):
    torch.manual_seed(0)
    net, head = nn.Linear(3, 4), nn.Linear(4, 1)
    balancer = Balancer(["rec", "kl"], "gradnorm", base={"kl": "cyclical(0,1,2)"}, total_steps=8)
    weights = []
    for _ in range(8):
        fork = balancer.fork(net(torch.randn(8, 3)))
        losses = {"rec": head(fork["rec"]).square().mean(), "kl": fork["kl"].abs().mean()}
        balancer(losses, anchor=fork).backward()
        weights.append(balancer.weights["kl"])
    assert [weight > 0 for weight in weights] == [False, True, True, True] * 2
    assert not recwarn.list


@pytest.mark.parametrize("anchor", ["features", "fork"])
def test_weights_are_learned_as_with_a_number_while_the_schedule_does_not_move(anchor):
    def trained(base):
        torch.manual_seed(0)
        net, heads = nn.Linear(3, 4), nn.ModuleDict({name: nn.Linear(4, 1) for name in ("rec", "kl", "perc")})
        balancer = Balancer(list(heads), "gradnorm", base=base, groups={"image": ["rec", "perc"]}, total_steps=100)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(6):
            features = net(torch.randn(8, 3))
            at = balancer.fork(features) if anchor == "fork" else features
            copies = at if anchor == "fork" else dict.fromkeys(heads, features)
            balancer({name: head(copies[name]).square().mean() for name, head in heads.items()}, anchor=at).backward()
            optimizer.step()
            optimizer.zero_grad()
        return balancer.weights

    assert trained({"kl": "step(0.3,1)", "image": "step(2,3)"}) == trained({"kl": 0.3, "image": 2.0})


def annealed_run(place, weighting="uncertainty"):
    torch.manual_seed(0)
    net = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    base = {"kl": "linear(0,0.5)", "image": 2.0}
    groups = {"image": ["rec", "edges"]}
    options = {"base": base, "groups": groups, "total_steps": 40, "log_dir": place, "record_every": 1}
    with Balancer(["rec", "edges", "kl"], weighting, **options) as balancer:
        for _ in range(40):
            out = net(torch.randn(8, 3))
            losses = {"rec": out.square().mean(), "edges": out.diff().square().mean(), "kl": out.abs().mean()}
            balancer(losses, anchor=out).backward()
            optimizer.step()
            optimizer.zero_grad()


def test_a_replay_of_the_same_weighting_gives_the_recorded_weights(tmp_path):
    annealed_run(tmp_path)
    record = read(tmp_path)
    _, found = replay(record, build_weighting("uncertainty"))
    for name, weights in record.parts[""].weights.items():
        assert found[name] == pytest.approx(weights, rel=1e-5, abs=1e-7)


def test_distilled_curves_do_not_hold_the_base_weight(tmp_path):
    annealed_run(tmp_path, "equal")
    curves = distill(tmp_path)
    assert curves.weights == {"image": pytest.approx([1.0] * 51), "kl": pytest.approx([1.0] * 51)}


def test_the_page_says_that_a_base_weight_follows_a_schedule(tmp_path):
    annealed_run(tmp_path)
    assert "base weight of `kl` follows linear(0,0.5)" in " ".join(findings(read(tmp_path)))

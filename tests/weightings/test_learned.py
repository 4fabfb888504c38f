"""The rule: equal at the start, its gradient, one rule for any number of losses, saved and used again."""

from dataclasses import replace

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import ConfigError
from autoloss.core.need import Need
from autoloss.weightings.auto_lambda import AutoLambda
from autoloss.weightings.gradient_cosine import GradientCosine
from autoloss.weightings.learned import Learned
from autoloss.weightings.ol_aux import OlAux


def teach(weighting, signals_of, learn, gain, steps=200, size=3):
    for step in range(steps):
        values = [1.0, *[2.0 * 0.99**step * (k + 1) for k in range(size - 1)]]
        learn(weighting, replace(signals_of(values, progress=step / steps), measured_alignment=gain))
    return weighting(signals_of(values))


def test_it_starts_at_equal_weights(signals_of):
    assert Learned().bind("abc")(signals_of([1.0, 20.0, 0.1])).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("weighting", [Learned, AutoLambda, lambda: AutoLambda(variant="raw")])
def test_a_loss_that_hurts_loses_its_weight_and_one_that_helps_gains(weighting, signals_of, learn):
    learned = teach(weighting().bind("abc"), signals_of, learn, torch.tensor([-1.0, 1.0, 1.0]) * 1e-6)
    assert learned[0] < 0.1 * learned[1:].mean()


def a_rule(names="abc", **further):
    weighting = Learned(**further).bind(names)
    weighting.rule.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    return weighting


def test_the_logits_go_up_the_held_out_gradient_through_the_weights(signals_of, monkeypatch):
    weighting, gain = a_rule(), torch.tensor([0.5, -1.0, 2.0])
    signals = replace(signals_of([1.0, 5.0, 0.1], progress=0.3), measured_alignment=gain)
    seen, weights = {}, weighting(signals)
    monkeypatch.setattr(weighting.adam, "step", lambda value, gradient: seen.update(gradient=gradient, at=value))
    weighting.update(signals)
    logits = seen["at"].double().requires_grad_()
    assert torch.allclose(logits.detach().softmax(0).float() * 3, weights, atol=1e-6)
    (expected,) = torch.autograd.grad((gain.double() * logits.softmax(0)).sum(), logits)
    assert torch.allclose(-seen["gradient"].double(), expected, atol=1e-6)


def test_the_rule_takes_the_least_squares_step_towards_the_logits(signals_of):
    weighting = a_rule()
    signals = replace(signals_of([1.0, 5.0, 0.1], progress=0.3), measured_alignment=torch.tensor([0.5, -1.0, 2.0]))

    before, logits = weighting.rule.clone(), weighting._logits(weighting.rule, signals)
    jacobian = torch.func.jacrev(lambda rule: weighting._logits(rule, signals))(weighting.rule).double()
    weighting.update(signals)
    lacking = (weighting.aim - logits).double()
    assert float(weighting.aim.sum()) == pytest.approx(0, abs=1e-6)
    damping = 0.1 * jacobian.square().sum() / 3
    stacked = torch.cat([jacobian, damping.sqrt() * torch.eye(len(before), dtype=torch.float64)])
    right = torch.cat([lacking, torch.zeros(len(before), dtype=torch.float64)])
    expected = torch.linalg.lstsq(stacked, right[:, None]).solution[:, 0]
    assert torch.allclose((weighting.rule - before).double(), expected, atol=1e-6)
    assert (jacobian @ expected) @ lacking > 0.5 * lacking @ lacking


def test_an_absent_loss_teaches_the_rule_nothing(signals_of, learn):
    three, two = a_rule("abc"), a_rule("ab")
    for step in range(5):
        here = replace(signals_of([2.0 * 0.9**step, 1.0]), measured_alignment=torch.tensor([1.0, -0.5]))
        more = signals_of([2.0 * 0.9**step, 1.0, 1e9], present=[True, True, False])
        learn(two, here)
        learn(three, replace(more, measured_alignment=torch.tensor([1.0, -0.5, 0.0])))
    assert torch.allclose(three.rule, two.rule, atol=1e-6)


def test_losses_that_look_alike_do_not_wear_the_rule_out(signals_of, learn):
    weighting, generator = Learned().bind("ab"), torch.Generator().manual_seed(0)
    for step in range(300):
        values = 2.0 * 0.99**step * (1 + 1e-3 * torch.rand(2, generator=generator))
        gain = torch.randn(2, generator=generator)
        learn(weighting, replace(signals_of(values, progress=step / 300), measured_alignment=gain))
    assert weighting.rule.abs().max() < 3


def test_where_held_out_data_says_nothing_the_weights_stay(signals_of, learn):
    weighting = Learned().bind("abc")
    before = teach(weighting, signals_of, learn, torch.tensor([-1.0, 1.0, 1.0]))
    weighting.adam.first_moment.zero_()
    for step in range(100):
        signals = signals_of([1.0, 0.3 * 0.995**step, 0.5 * 0.995**step], progress=0.5 + step / 200)
        learn(weighting, replace(signals, measured_alignment=torch.zeros(3)))
    assert before[0] < 0.05
    assert weighting(signals)[0] < 0.05
    assert torch.allclose(weighting(signals), before, atol=0.4)


def test_one_rule_serves_another_number_of_losses_frozen_or_learning(signals_of, learn, tmp_path):
    first = Learned().bind("abc")
    teach(first, signals_of, learn, torch.tensor([-1.0, 1.0, 1.0]))
    torch.save(first.export(), tmp_path / "weighting.pt")
    frozen = Learned(load=str(tmp_path), frozen=True, width=3).bind("abcde")
    assert frozen.needs == Need.VALUES
    again = [signals_of([1.0, *[2.0 * 0.99**t] * 4], progress=t / 200) for t in range(200)]
    for signals in again:
        weights = learn(frozen, signals)
    assert torch.equal(frozen.rule, first.rule)
    assert weights[0] < 0.5 * weights[1:].mean()
    going_on = Learned(load=str(tmp_path / "weighting.pt")).bind("abcd")
    assert going_on.needs == Need.VALUES | Need.ALIGNMENT
    assert torch.equal(going_on.rule, first.rule)
    for t in range(200):
        signals = signals_of([1.0, *[2.0 * 0.99**t] * 3], progress=t / 200)
        weights = learn(going_on, replace(signals, measured_alignment=torch.tensor([-1.0, 1.0, 1.0, 1.0])))
    assert weights[0] < 0.1 * weights[1:].mean()


def test_a_balancer_leaves_its_rule_where_it_records(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    balancer = Balancer("ab", {"name": "learned", "wrap": ["ema"]}, log_dir=tmp_path)

    def losses_of(net):
        return dict(zip("ab", net(torch.ones(3, 2)).square().mean(0), strict=True))

    with balancer.lookahead(net, optimizer, train=losses_of, held_out=losses_of):
        balancer(losses_of(net)).backward()
        optimizer.step()
    balancer.close()
    assert torch.equal(Learned(load=str(tmp_path)).bind("abc").rule, balancer.player.weighting.inner.rule)


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ConfigError, match="A frozen rule must be loaded, but load=null"):
        Learned(frozen=True)
    with pytest.raises(ConfigError, match="a run with weighting=learned that has ended, but there is no file"):
        Learned(load=str(tmp_path))
    (tmp_path / "weighting.pt").write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        Learned(load=str(tmp_path))
    torch.save({"rule": torch.ones(3)}, tmp_path / "weighting.pt")
    with pytest.raises(ConfigError, match="holds something else"):
        Learned(load=str(tmp_path))


GRAM = [[4.0, 2.0, -1.0], [2.0, 4.0, 0.0], [-1.0, 0.0, 1.0]]


def test_auxiliary_losses_get_the_cosine_with_the_main_one(signals_of):
    signals = signals_of([1.0, 1.0, 1.0], GRAM)
    assert GradientCosine("a").bind("abc")(signals).tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert GradientCosine("a", "unweighted").bind("abc")(signals).tolist() == [1.0, 1.0, 0.0]
    weights = GradientCosine(["a", "c"]).bind("abc")(signals)
    assert weights.tolist() == pytest.approx([1.0, 2 / (3**0.5 * 2), 1.0])


def test_main_losses_never_rise(signals_of):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        rows = torch.randn(4, 3, generator=generator)
        weights = GradientCosine("a").bind("abcd")(signals_of([1.0] * 4, rows @ rows.T))
        assert float((weights @ rows) @ rows[0]) >= float(rows[0] @ rows[0]) * (1 - 1e-5)


def test_ol_aux_moves_after_each_window_by_its_mean_product(signals_of, learn):
    weighting = OlAux("a", rate=0.1, window=2).bind("abc")
    signals = signals_of([1.0, 1.0, 1.0], GRAM)
    learn(weighting, signals)
    assert weighting(signals).tolist() == [1.0, 1.0, 1.0]
    learn(weighting, signals)
    assert weighting(signals).tolist() == pytest.approx([1.0, 1.05, 0.975])
    for _ in range(200):
        learn(weighting, signals)
    assert weighting(signals)[2] == 0
    orthogonal = signals_of([1.0, 1.0], torch.eye(2))
    weighting = OlAux("a", window=1).bind("ab")
    learn(weighting, orthogonal)
    assert weighting(orthogonal).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", [OlAux, GradientCosine])
def test_roles_must_make_sense(kind):
    with pytest.raises(LookupError, match="No loss is called 'd'"):
        kind("d").bind("abc")
    with pytest.raises(ConfigError, match="Some loss must help the main ones, but all are main"):
        kind(["a", "b"]).bind("ab")
    with pytest.raises(ConfigError, match="`main` must name a loss, but it is empty"):
        kind([])

"""Sample weights inside the one step: what is weighed, what is learned, and when."""

import csv

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from autoloss import Balancer, Entry, SampleNeed, Samples, SampleWeighting
from autoloss.core.errors import AutolossError, ConfigError, SignalError, UnknownNameError
from autoloss.sample_weightings.given import Given


class Memory(SampleWeighting):
    """Weighs with the column ``w`` and remembers the mean loss, the calls, and each sample's last loss."""

    needs = SampleNeed.LOSSES | SampleNeed.INDEX

    def allocate(self, size):
        self.add_state("mean", torch.zeros(()))
        self.add_state("calls", torch.zeros(()))
        self.add_state("each", torch.zeros(size))

    def forward(self, samples: Samples) -> Tensor:
        return samples.keys["w"]

    def update(self, samples):
        self.mean.copy_(samples.mean(samples.losses))
        self.calls.add_(1)
        self.each[samples.index] = samples.losses


def rule_of(balancer, at=0):
    return balancer.player.samples.rules[at]


def losses(*values):
    return torch.tensor(values, requires_grad=True)


def test_the_loss_is_the_mean_of_weighted_values_and_weights_are_constants():
    balancer = Balancer(["a", "b"], "equal", sample_weighting=Given("w"))
    a, b = losses(1.0, 2.0, 3.0), losses(1.0, 1.0, 1.0)
    w = torch.tensor([0.0, 2.0, 1.0])
    total = balancer({"a": a, "b": b}, keys={"w": w})
    total.backward()
    assert total.item() == pytest.approx((7 + 3) / 3)
    torch.testing.assert_close(a.grad, w / 3)


def test_masked_items_and_scalars_and_absent_terms_are_left_alone():
    balancer = Balancer(["a", "b", "c"], "equal", sample_weighting=Given("w"))
    a, mask = losses(1.0, float("nan"), 3.0), torch.tensor([True, False, True])
    total = balancer(
        {"a": Entry(a, mask), "b": torch.tensor(5.0), "c": None}, keys={"w": torch.tensor([2.0, 9.0, 0.0])}
    )
    assert total.item() == pytest.approx(2 / 2 + 5)


def test_values_of_any_shape_are_weighed_by_sample():
    balancer = Balancer(["a"], "equal", sample_weighting=Given("w"))
    values = torch.arange(6.0).view(2, 3)
    assert balancer({"a": values}, keys={"w": torch.tensor([2.0, 0.0])}).item() == pytest.approx(2 * 3 / 6)


def test_only_the_named_terms_are_weighed():
    given = {"name": "given", "key": "w", "terms": ["a"]}
    balancer = Balancer(["a", "b"], "equal", sample_weighting=given)
    total = balancer({"a": losses(1.0, 1.0), "b": losses(1.0, 1.0)}, keys={"w": torch.tensor([3.0, 0.0])})
    assert total.item() == 2.5
    with pytest.raises(UnknownNameError, match="'c'"):
        Balancer(["a"], "equal", sample_weighting={**given, "terms": ["c"]})
    with pytest.raises(ConfigError, match="'a' is a scalar"):
        balancer({"a": torch.tensor(1.0)})


def test_rules_learn_once_for_each_step_from_all_its_micro_batches_and_terms_apart():
    balancer = Balancer(["a", "b"], "equal", sample_weighting=Memory(), samples=5, accumulate=2)
    w, zero = torch.ones(2), torch.zeros(2)
    balancer({"a": losses(1.0, 2.0), "b": zero}, index=torch.tensor([0, 3]), keys={"w": w})
    assert rule_of(balancer).calls == 0
    balancer({"a": losses(3.0, 6.0), "b": zero}, index=torch.tensor([1, 4]), keys={"w": w})
    assert (rule_of(balancer).calls.item(), rule_of(balancer).mean.item(), rule_of(balancer, 1).mean.item()) == (
        1,
        3,
        0,
    )
    assert rule_of(balancer).each.tolist() == [1, 3, 0, 2, 6]
    other = Balancer(["a", "b"], "equal", sample_weighting=Memory(), samples=5)
    other.load_state_dict(balancer.state_dict())
    assert rule_of(other).each.tolist() == [1, 3, 0, 2, 6]


def test_a_loss_that_is_not_finite_teaches_nothing():
    balancer = Balancer(["a"], "equal", sample_weighting=Memory(), samples=2, on_nonfinite="skip")
    balancer({"a": losses(1.0, float("nan"))}, index=torch.tensor([0, 1]), keys={"w": torch.ones(2)})
    assert balancer.skipped == 1
    assert rule_of(balancer).calls == 0


def test_frozen_totals_are_weighed_and_evaluated_ones_are_not():
    balancer = Balancer(["a"], "equal", sample_weighting=Given("w"))
    given = {"losses": {"a": losses(1.0, 1.0)}, "keys": {"w": torch.tensor([3.0, 0.0])}}
    with balancer.frozen():
        assert balancer(**given).item() == 1.5
    assert balancer.eval()(**given).item() == 1


def test_an_empty_selection_is_a_zero_loss_with_one_warning():
    balancer = Balancer(["a"], "equal", sample_weighting=Given("w"))
    a = losses(1.0, 2.0)
    with pytest.warns(UserWarning, match="'given' left none for loss 'a'"):
        total = balancer({"a": a}, keys={"w": torch.zeros(2)})
    total.backward()
    assert total.item() == 0
    assert a.grad.tolist() == [0, 0]
    assert balancer({"a": a}, keys={"w": torch.zeros(2)}).item() == 0


def test_the_record_shows_what_the_weights_did(tmp_path):
    balancer = Balancer(["a"], "equal", sample_weighting=Given("w"), log_dir=tmp_path, record_every=1)
    keys = {"w": torch.tensor([0.0, 2.0, 1.0, 5.0]), "corrupted": torch.tensor([True, False, True, True])}
    mask = torch.tensor([True, True, True, False])
    balancer({"a": Entry(losses(1.0, 2.0, 3.0, 4.0), mask)}, keys=keys)
    balancer({"a": losses(1.0, 2.0)}, keys={"w": torch.ones(2), "corrupted": torch.zeros(2, dtype=torch.bool)})
    balancer.close()
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    expected = {"sample_used": 2 / 3, "sample_weight_mean": 1, "sample_weight_clean": 2, "sample_weight_corrupted": 0.5}
    for kind, value in expected.items():
        assert float(first[f"{kind}/a"]) == pytest.approx(value), kind
    assert second["sample_weight_corrupted/a"] == ""
    assert float(second["sample_weight/a/p50"]) == 1
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "histograms": 0}).Reload()
    assert [s.value for s in events.Scalars("sample_weight_clean/a")] == [2, 1]
    assert events.Histograms("sample_weight/a")


def test_bad_input_is_said_in_one_sentence():
    with pytest.raises(ConfigError, match="the number of samples is not known"):
        Balancer(["a"], "equal", sample_weighting=Memory())
    balancer = Balancer(["a"], "equal", sample_weighting=Memory(), samples=2)
    with pytest.raises(SignalError, match="index is not given"):
        balancer({"a": losses(1.0, 2.0)})
    with pytest.raises(ConfigError, match=r"between 0 and 1.*a batch has 2"):
        balancer({"a": losses(1.0, 2.0)}, index=torch.tensor([0, 2]))
    with pytest.raises(UnknownNameError, match="weight"):
        Balancer(["a"], "equal", sample_weighting="given")({"a": losses(1.0)}, keys={"wieght": torch.ones(1)})
    with pytest.raises(AutolossError, match="must not|not negative"):
        Balancer(["a"], "equal", sample_weighting="given")({"a": losses(1.0)}, keys={"weight": -torch.ones(1)})

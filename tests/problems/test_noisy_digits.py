"""Digits with a stated share of wrong labels."""

import pytest
import torch

from autoloss import build
from autoloss.core.errors import ConfigError
from autoloss.problems._noise import corrupted, imbalanced
from autoloss.problems.noisy_digits import NoisyDigits


def tables(seed=0, **parameters):
    return {split: table.columns for split, table in NoisyDigits(**parameters).datasets(seed).items()}


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
@pytest.mark.parametrize("noise", [0.0, 0.4, 0.8])
def test_exactly_the_stated_share_of_training_labels_is_wrong_and_said(kind, noise):
    found = tables(noise=noise, kind=kind)
    assert found["train"]["corrupted"].float().mean() == pytest.approx(noise)
    clean = tables(noise=0.0)["train"]
    wrong = found["train"]["label"] != clean["label"]
    assert torch.equal(wrong, found["train"]["corrupted"])
    assert not found["val"]["corrupted"].any()
    assert not found["test"]["corrupted"].any()
    if kind == "pair":
        assert torch.equal(found["train"]["label"][wrong], (clean["label"][wrong] + 1) % 10)


def test_symmetric_noise_takes_every_other_class_alike():
    labels = torch.zeros(90_000, dtype=torch.int64)
    spoilt = corrupted(labels, 0.9, "symmetric", 10, torch.Generator().manual_seed(0))
    counts = torch.bincount(spoilt, minlength=10)
    assert counts[0] == 9000
    assert bool(((counts[1:] - 9000).abs() < 500).all())


def test_splits_are_disjoint_and_drawn_anew_for_each_seed():
    found = tables()
    rows = {split: {image.numpy().tobytes() for image in table["image"]} for split, table in found.items()}
    assert {split: len(table["label"]) for split, table in found.items()} == {"train": 1000, "val": 350, "test": 447}
    assert not rows["train"] & (rows["val"] | rows["test"])
    assert not rows["val"] & rows["test"]
    assert torch.equal(tables()["train"]["label"], found["train"]["label"])
    assert not torch.equal(tables(seed=1)["train"]["image"], found["train"]["image"])
    assert torch.equal(found["train"]["index"], torch.arange(1000))


def test_imbalance_is_an_exponential_of_the_stated_ratio():
    labels = torch.arange(10).repeat(500)
    kept = labels[imbalanced(labels, 100.0, 10, torch.Generator().manual_seed(0))]
    counts = torch.bincount(kept, minlength=10)
    assert counts[0] == 500
    assert counts[9] == 5
    steps = counts[:-1] / counts[1:]
    assert bool(((steps - 100 ** (1 / 9)).abs() < 0.2).all())
    sizes = torch.bincount(tables(imbalance=10.0, noise=0.0)["train"]["label"], minlength=10)
    assert sizes[0] / sizes[9] == pytest.approx(10, rel=0.1)


def test_folds_train_on_spoilt_and_validate_on_clean_digits():
    for fold in NoisyDigits(noise=0.4).folds(3, seed=0):
        assert fold["train"].columns["corrupted"].float().mean() == pytest.approx(0.4, abs=0.01)
        assert not fold["val"].columns["corrupted"].any()
        assert int(fold["train"].columns["index"].max()) == len(fold["train"]) - 1


@pytest.mark.parametrize(
    "parameters", [{"noise": 1.0}, {"noise": -0.1}, {"kind": "odd"}, {"imbalance": 0.5}, {"hidden": []}]
)
def test_bad_parameters(parameters):
    with pytest.raises(ConfigError, match=f"`{next(iter(parameters))}` must"):
        NoisyDigits(**parameters)


def test_held_out_labels_are_judged_by_what_their_noise_does_not_turn():
    assert NoisyDigits(0.4).judges == {"digit": {"name": "generalised_cross_entropy", "q": 1.0}}
    assert NoisyDigits(0.0).judges == {}
    # Whatever it predicts: with symmetric labels the expected error is a constant plus a multiple of the clean one.
    chances, labels, rate = torch.rand(50, 10).softmax(1), torch.randint(10, (50,)), 0.4
    error = build("loss", {"name": "generalised_cross_entropy", "q": 1.0})
    each = torch.stack([error(chances.log(), torch.full_like(labels, c)) for c in range(10)], 1)
    right = torch.nn.functional.one_hot(labels, 10).bool()
    spoilt = (torch.where(right, 1 - rate, rate / 9) * each).sum(1)
    clean = each[right]
    torch.testing.assert_close(spoilt, (1 - rate - rate / 9) * clean + rate / 9 * 9)


def test_rare_classes_are_judged_best_where_all_classes_are_alike():
    judge = build("loss", NoisyDigits(0.0, imbalance=20.0).judges["digit"])
    labels = tables(noise=0.0, imbalance=20.0)["train"]["label"]
    slopes = []
    for loss in (judge, build("loss", "cross_entropy")):
        logits = torch.zeros(10, requires_grad=True)
        loss(logits.expand(len(labels), 10), labels).mean().backward()
        slopes.append(float(logits.grad.abs().max()))
    assert slopes[0] < 0.01
    assert slopes[1] > 0.1  # which asks for higher logits of the frequent classes

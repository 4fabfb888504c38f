"""Metrics from sums against the same metrics from all pixels."""

import pytest
import torch
from torch.nn import functional

from autoloss.problems import _dense_metrics as dense


def added(parts):
    return sum(parts[1:], parts[0])


def test_intersection_over_union_is_that_of_the_sets_of_pixels():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5, 8, 8), torch.randint(-1, 4, (6, 8, 8))
    sums = added([dense.segmentation_sums(x, y) for x, y in zip(logits.split(2), labels.split(2), strict=True)])
    found = dense.segmentation_metrics(sums, (1, 3))
    known, guess = labels >= 0, logits.argmax(1)
    shares = []
    for one in range(5):
        truth, said = (labels == one) & known, (guess == one) & known
        shares.append((truth & said).sum() / (truth | said).sum())
    assert found["mean_iou"] == pytest.approx(float(torch.stack(shares).mean()), rel=1e-5)
    assert found["small_iou"] == pytest.approx(float((shares[1] + shares[3]) / 2), rel=1e-5)
    assert found["pixel_accuracy"] == pytest.approx(float((guess == labels)[known].float().mean()), rel=1e-5)


def test_a_class_that_nobody_names_does_not_count():
    logits = functional.one_hot(torch.tensor([[0, 1]]), 4).movedim(2, 1).float()
    found = dense.segmentation_metrics(dense.segmentation_sums(logits, torch.tensor([[0, 1]])), (1, 2))
    assert found == {"mean_iou": 1.0, "pixel_accuracy": 1.0, "small_iou": 1.0, "small_error": 0.0}


def test_depth_errors_are_means_over_known_pixels():
    torch.manual_seed(0)
    truth, guess = 1 + torch.rand(4, 1, 5, 5), 1 + torch.rand(4, 1, 5, 5)
    known = torch.rand(4, 1, 5, 5) < 0.7
    spoilt = torch.where(known, truth, torch.nan)
    parts = zip(guess.split(1), spoilt.split(1), known.split(1), strict=True)
    found = dense.depth_metrics(added([dense.depth_sums(*part) for part in parts]))
    error = (guess - truth).abs()[known]
    assert found["depth_abs"] == pytest.approx(float(error.mean()), rel=1e-5)
    assert found["depth_rel"] == pytest.approx(float((error / truth[known]).mean()), rel=1e-5)


def test_angles_have_the_mean_median_and_share_of_all_pixels():
    torch.manual_seed(0)
    truth = functional.normalize(torch.randn(4, 3, 16, 16), dim=1)
    guess = 3 * truth + torch.randn(4, 3, 16, 16) * torch.rand(4, 1, 1, 1)
    known = torch.rand(4, 16, 16) < 0.7
    parts = [dense.normal_sums(*part) for part in zip(guess.split(1), truth.split(1), known.split(1), strict=True)]
    found = dense.normal_metrics({name: added([part[name] for part in parts]) for name in parts[0]})
    angle = functional.cosine_similarity(guess.double(), truth.double(), dim=1).clamp(-1, 1).acos().rad2deg()[known]
    assert found["normal_mean"] == pytest.approx(float(angle.mean()), rel=1e-4)
    assert found["normal_median"] == pytest.approx(float(angle.median()), abs=0.1)
    assert found["normal_within_11"] == pytest.approx(float((angle <= 11.25).float().mean()), abs=1e-4)


def test_equal_normals_are_0_apart_and_opposite_ones_180():
    one = torch.tensor([0.6, 0.0, 0.8]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    known = torch.ones(1, 2, 2, dtype=torch.bool)
    same, other = (dense.normal_metrics(dense.normal_sums(x, one, known)) for x in (5 * one, -one))
    assert (same["normal_mean"], same["normal_within_11"]) == (0.0, 1.0)
    assert same["normal_median"] <= 0.1
    assert other["normal_mean"] == pytest.approx(180)
    assert other["normal_median"] == pytest.approx(180, abs=0.1)


def heat(*places):
    spots = torch.zeros(1, 1, 24, 24)
    for row, column in places:
        spots[..., row, column] = 1
    return functional.max_pool2d(spots, 3, 1, 1)


def test_centres_that_are_found_missed_and_made_up_give_the_f1_score():
    true = heat((4, 4), (4, 18), (18, 4))
    # The first is found a pixel beside, the second exactly, the third is missed; two are made up, less surely.
    logits = torch.full((1, 1, 24, 24), -9.0)
    logits[..., 4, 5], logits[..., 4, 18], logits[..., 12, 12], logits[..., 20, 20] = 3.0, 2.0, -1.5, -2.0
    found = dense.centre_metrics(dense.centre_sums(logits, true))
    # The best threshold leaves the two that are right: precision 1, recall 2/3.
    assert found["centre_f1"] == pytest.approx(0.8)
    logits[..., 12, 12] = 9.0
    found = dense.centre_metrics(dense.centre_sums(logits, true))
    assert found["centre_f1"] == pytest.approx(2 / 3)


def test_centres_that_are_all_found_are_1_and_none_are_0():
    true = heat((4, 4), (18, 18))
    assert dense.centre_metrics(dense.centre_sums(20 * heat((4, 4), (18, 18)) - 10, true))["centre_f1"] == 1.0
    assert dense.centre_metrics(dense.centre_sums(torch.full_like(true, -10.0), true))["centre_f1"] == 0.0

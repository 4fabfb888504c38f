"""Metrics of dense tasks over all pixels of a split, from sums that can be added over its batches.

Each task has two functions: ``*_sums`` counts one batch, and ``*_metrics`` says what the sums of a split mean. A pixel
that is not ``known`` counts nowhere. Only operations that :func:`torch.func.vmap` can map: several networks may be
measured at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

BINS = 1800  # of a histogram of angles from 0 to 180 degrees
WITHIN = 11.25
THRESHOLDS = tuple(k / 20 for k in range(1, 20))
NEAR = 2  # pixels, along rows and columns, from a centre to one that counts as found

# Of scores that begin near 0 the error counts: a relative change of them has no bound.
GOALS: Mapping[str, Mapping[str, str]] = {
    "segmentation": {"mean_iou": "max", "pixel_accuracy": "max"},
    "depth": {"depth_abs": "min", "depth_rel": "min"},
    "normals": {"normal_mean": "min", "normal_median": "min", "normal_within_11": "max"},
    "centres": {"centre_error": "min"},
}


def segmentation_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """How often each class [C] was taken for each [C], from logits [B, C, ...] and labels; one below 0 is unknown."""
    classes, labels = logits.shape[1], labels.flatten()
    place = labels.clamp(0, classes - 1) * classes + logits.argmax(1).flatten()
    return _histogram(place, (labels >= 0) & (labels < classes), classes * classes).view(classes, classes)


def segmentation_metrics(confusion: Tensor, small: Sequence[int]) -> dict[str, float]:
    """Mean intersection over union, pixel accuracy, and the mean over the ``small`` classes alone.

    A class that neither the truth nor the prediction has is left out of a mean.
    """
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    found = {"mean_iou": _mean_over_present(right, union), "pixel_accuracy": _share(right.sum(), confusion.sum())}
    if small:
        found["small_iou"] = _mean_over_present(right[list(small)], union[list(small)])
        found["small_error"] = 1 - found["small_iou"]
    return found


def depth_sums(depth: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """The sums of the absolute and of the relative error, and the number of pixels, [3]."""
    error = (depth - truth).abs()
    relative = error / torch.where(known, truth, 1.0).abs()
    return torch.stack([torch.where(known, error, 0.0).sum(), torch.where(known, relative, 0.0).sum(), known.sum()])


def depth_metrics(sums: Tensor) -> dict[str, float]:
    """The mean absolute error, and the mean error relative to the true depth."""
    return {"depth_abs": _share(sums[0], sums[2]), "depth_rel": _share(sums[1], sums[2])}


def normal_sums(normals: Tensor, truth: Tensor, known: Tensor) -> dict[str, Tensor]:
    """The sum of the angles in degrees and what is needed besides, from [B, 3, H, W] and the known pixels [B, H, W]."""
    one, other = functional.normalize(normals, dim=1), functional.normalize(truth, dim=1)
    # The arc cosine has few digits near 0; half the chord's arc sine has all of them.
    half_chord = (one - other).square().sum(1).sqrt() / 2
    angle = 2 * half_chord.clamp(max=1).asin().rad2deg()
    place = (angle.flatten() * (BINS / 180)).long().clamp(0, BINS - 1)
    return {
        "angles": torch.stack([(angle * known).sum(), ((angle <= WITHIN) & known).sum(), known.sum()]),
        "angle_histogram": _histogram(place, known, BINS),
    }


def normal_metrics(sums: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean and the median angle in degrees, and the share of pixels within 11.25 degrees.

    The median is interpolated in a histogram with bins of 0.1 degrees.
    """
    angle, within, number = sums["angles"]
    histogram = sums["angle_histogram"].double()
    reached = histogram.cumsum(0)
    half = reached[-1] / 2
    bin_ = int((reached < half).sum().clamp(max=BINS - 1))
    inside = float((half - (reached[bin_] - histogram[bin_])) / histogram[bin_].clamp(min=1e-12))
    return {
        "normal_mean": _share(angle, number),
        "normal_median": (bin_ + min(inside, 1.0)) * 180 / BINS,
        "normal_within_11": _share(within, number),
    }


def centre_sums(logits: Tensor, heat: Tensor) -> Tensor:
    """For each of ``THRESHOLDS`` how many peaks there are, how many are right, and the same of the truth, [T, 4].

    A peak is a pixel of which no neighbour within ``NEAR`` pixels is higher. It is right if a true centre lies within
    ``NEAR`` pixels; a true centre (the middle of a 3 x 3 block of ``heat``) is found if a peak does.
    """
    chance, around = logits.sigmoid(), 2 * NEAR + 1
    # The chance at peaks, and 0 elsewhere.
    top = torch.where(chance == functional.max_pool2d(chance, around, 1, NEAR), chance, 0.0)
    # Only the middle of a block has nine pixels of it around itself; blocks that overlap have several.
    truth = functional.avg_pool2d(heat, 3, 1, 1) > 0.999
    near_truth = functional.max_pool2d(truth.float(), around, 1, NEAR) > 0
    nearest = functional.max_pool2d(top, around, 1, NEAR)
    number = truth.sum().expand(len(THRESHOLDS))
    counts = [_above(top, top > 0), _above(top, near_truth), number, _above(nearest, truth)]
    return torch.stack(counts, 1).float()


def _above(chances: Tensor, counted: Tensor) -> Tensor:
    """How many ``chances`` of those that are ``counted`` are above each of ``THRESHOLDS``, [T]."""
    levels = torch.tensor(THRESHOLDS, device=chances.device, dtype=chances.dtype)
    # The number of levels below a chance, 0 to T.
    place = torch.bucketize(chances.flatten(), levels)
    passed = _histogram(place, counted, len(THRESHOLDS) + 1)
    return passed.flip(0).cumsum(0).flip(0)[1:]


def _histogram(place: Tensor, counted: Tensor, size: int) -> Tensor:
    """How many of those that are ``counted`` have each ``place`` below ``size``, [size]."""
    return torch.zeros(size, device=place.device).scatter_add(0, place, counted.flatten().float())


def centre_metrics(sums: Tensor) -> dict[str, float]:
    """The harmonic mean of precision and recall at the best threshold: losses differ in how they calibrate chances."""
    peaks, right, true, met = sums.double().unbind(1)
    precision, recall = right / peaks.clamp(min=1), met / true.clamp(min=1)
    score = float((2 * precision * recall / (precision + recall).clamp(min=1e-12)).max())
    return {"centre_f1": score, "centre_error": 1 - score}


def _mean_over_present(part: Tensor, whole: Tensor) -> float:
    here = whole > 0
    return _share((part / whole.clamp(min=1) * here).sum(), here.sum())


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part) / max(float(whole), 1.0)

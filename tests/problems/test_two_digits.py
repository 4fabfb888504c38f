"""Two digits on one canvas."""

import torch

from autoloss.problems.two_digits import TwoDigits


def test_folds_have_no_source_digit_in_common():
    problem = TwoDigits(pairs=2000)
    whole = problem.datasets(0)
    folds = problem.folds(3, seed=0)
    validated = set()
    for fold in folds:
        parts = {split: fold[split].columns for split in ("train", "val", "test")}
        assert {split: len(part["left"]) for split, part in parts.items()} == problem.sizes
        right = {split: {row.numpy().tobytes() for row in part["pixels"]} for split, part in parts.items()}
        assert not right["train"] & right["val"]
        assert not (right["train"] | right["val"]) & right["test"]
        validated |= right["val"]
        assert all(torch.equal(fold["test"].columns[name], column) for name, column in whole["test"].columns.items())
    assert len(validated) > 800
    again = problem.folds(3, seed=0)
    assert torch.equal(again[1]["val"].columns["canvas"], folds[1]["val"].columns["canvas"])
    assert not torch.equal(problem.folds(3, seed=1)[1]["val"].columns["canvas"], folds[1]["val"].columns["canvas"])

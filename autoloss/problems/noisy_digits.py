"""Real digits with a known share of wrong labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.problems import _noise
from autoloss.problems._tensors import Batch, TensorTable, folds

CLASSES, TRAIN, VAL = 10, 1000, 350


class NoisyDigits(Problem):
    """Classifies scikit-learn's 8 x 8 digits when a share of the training labels is wrong.

    The 1797 digits are split into 1000, 350 and 447, and labels are made wrong anew for each seed; validation and
    test stay clean and balanced. An MLP with ReLU. Batches say which samples they hold (``index``), and which of
    them are ``corrupted``: the record shows the mean weights of these and of the others. Where numbers of the loss are
    learned, held-out data have wrong labels too. They are judged by the expected error ``1 - p_t``, since symmetric
    noise does not change which of two classifiers has the smaller one (cross-entropy would ask for unsure answers).
    Without noise, where classes are rare, they are judged by cross-entropy adjusted to the frequencies of the classes,
    which is smallest where balanced accuracy is best. (Cross-entropy with weights of classes is so too where
    data are not trained on; weights lose their effect on data that are fitted, as Byrd and Lipton show.)

    Args:
        noise: share of the training labels that are wrong, in [0, 1).
        kind: ``symmetric`` (any other class) or ``pair`` (the next class).
        imbalance: how many times more samples the most frequent class has than the rarest, at least 1; the sizes
            of the classes fall exponentially. 1 leaves the data as they are.
        hidden: widths of the layers.
    """

    terms = {"digit": "cross_entropy"}
    metrics = {"error": "min"}
    recipe = {"optimizer": {"lr": 0.001}, "batch_size": 64, "threads": 1, "trainer": {"max_epochs": 50}}
    use = "Trying weights of samples: wrong labels, or rare classes, on real data in seconds."
    avoid = "Several losses should be balanced: it has one."
    citation = (
        "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; noise as in Zhang et al., ICLR 2017; "
        "judged as in Ghosh, Kumar, Sastry, AAAI 2017, arXiv:1712.09482, and Menon et al., ICLR 2021, arXiv:2007.07314"
    )

    def __init__(
        self, noise: float = 0.4, kind: str = "symmetric", imbalance: float = 1.0, hidden: Sequence[int] = [256, 256]
    ) -> None:
        super().__init__()
        _noise.check(noise, kind, imbalance)
        require(len(hidden) > 0 and min(hidden) > 0, "`hidden` must be widths above 0", f"hidden={list(hidden)}")
        self.noise, self.kind, self.imbalance, self.hidden = noise, kind, imbalance, tuple(hidden)
        if noise:
            self.judges = {"digit": {"name": "generalised_cross_entropy", "q": 1.0}}
        elif imbalance > 1:
            sizes = _noise.relative_sizes(imbalance, CLASSES)
            self.judges = {"digit": {"name": "logit_adjusted", "priors": sizes}}

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        images, labels = _digits()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        train, val, test = order[:TRAIN], order[TRAIN : TRAIN + VAL], order[TRAIN + VAL :]
        return {
            "train": self._spoilt(images[train], labels[train], seed),
            "val": _table(images[val], labels[val], labels[val]),
            "test": _table(images[test], labels[test], labels[test]),
        }

    def folds(self, count: int, seed: int) -> list[Mapping[str, TensorTable]]:
        """The datasets of a ``count``-fold cross-validation: wrong labels to train on, clean ones to validate on."""
        images, labels = _digits()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        rows, test = order[: TRAIN + VAL], order[TRAIN + VAL :]
        return [
            {
                "train": self._spoilt(images[train], labels[train], seed),
                "val": _table(images[val], labels[val], labels[val]),
                "test": _table(images[test], labels[test], labels[test]),
            }
            for train, val in folds(rows, count, seed)
        ]

    def network(self) -> nn.Module:
        widths = [64, *self.hidden]
        layers = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]
        return nn.Sequential(nn.Sequential(*layers), nn.Linear(widths[-1], CLASSES))

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        trunk, head = network.children()
        copies, anchor = self.branch(trunk(batch["image"]))
        term = Term(head(copies["digit"]), batch["label"])
        return Outputs({"digit": term}, anchor, index=batch["index"], keys={"corrupted": batch["corrupted"]})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        term = outputs.term("digit")
        return {"error": (term.prediction.argmax(1) != term.target).float()}

    def _spoilt(self, images: Tensor, labels: Tensor, seed: int) -> TensorTable:
        generator = torch.Generator().manual_seed(1_000_003 + seed)
        rows = _noise.imbalanced(labels, self.imbalance, CLASSES, generator)
        images, labels = images[rows], labels[rows]
        return _table(images, _noise.corrupted(labels, self.noise, self.kind, CLASSES, generator), labels)


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).flatten(1) / 16
    return images, torch.tensor(digits.target, dtype=torch.int64)


def _table(images: Tensor, labels: Tensor, truth: Tensor) -> TensorTable:
    return TensorTable(image=images, label=labels, corrupted=labels != truth, index=torch.arange(len(labels)))

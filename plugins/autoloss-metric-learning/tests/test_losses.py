from __future__ import annotations

import copy

import pytest
import torch
from autoloss_metric_learning.angular import Angular
from autoloss_metric_learning.arcface import Arcface
from autoloss_metric_learning.circle import Circle
from autoloss_metric_learning.contrastive import Contrastive
from autoloss_metric_learning.cosface import Cosface
from autoloss_metric_learning.embedding_loss import EmbeddingLoss
from autoloss_metric_learning.fast_ap import FastAp
from autoloss_metric_learning.lifted_structure import LiftedStructure
from autoloss_metric_learning.margin import Margin
from autoloss_metric_learning.multi_similarity import MultiSimilarity
from autoloss_metric_learning.n_pairs import NPairs
from autoloss_metric_learning.nca import Nca
from autoloss_metric_learning.nt_xent import NtXent
from autoloss_metric_learning.proxy_anchor import ProxyAnchor
from autoloss_metric_learning.proxy_nca import ProxyNca
from autoloss_metric_learning.sup_con import SupCon
from autoloss_metric_learning.triplet_margin import TripletMargin
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.losses.base_metric_loss_function import BaseMetricLossFunction
from torch import Tensor

from autoloss import ConfigError
from autoloss.testing import LossSuite

CLASSES, SIZE = 5, 4
LEARNED = {"num_classes": CLASSES, "embedding_size": SIZE}
CASES = {
    "angular": (Angular(), pml.AngularLoss()),
    "arcface": (Arcface(**LEARNED), pml.ArcFaceLoss(**LEARNED)),
    "circle": (Circle(), pml.CircleLoss()),
    "contrastive": (Contrastive(neg_margin=0.8), pml.ContrastiveLoss(neg_margin=0.8)),
    "cosface": (Cosface(**LEARNED), pml.CosFaceLoss(**LEARNED)),
    "fast_ap": (FastAp(), pml.FastAPLoss()),
    "lifted_structure": (LiftedStructure(), pml.LiftedStructureLoss()),
    "margin": (Margin(beta=0.9), pml.MarginLoss(beta=0.9)),
    "margin_learned": (Margin(nu=0.1, learn_beta=True), pml.MarginLoss(nu=0.1, learn_beta=True)),
    "margin_by_class": (
        Margin(nu=0.1, learn_beta=True, num_classes=CLASSES),
        pml.MarginLoss(nu=0.1, learn_beta=True, num_classes=CLASSES),
    ),
    "multi_similarity": (MultiSimilarity(alpha=3.0), pml.MultiSimilarityLoss(alpha=3.0)),
    "n_pairs": (NPairs(), pml.NPairsLoss()),
    "nca": (Nca(softmax_scale=2.0), pml.NCALoss(softmax_scale=2.0)),
    "nt_xent": (NtXent(temperature=0.2), pml.NTXentLoss(temperature=0.2)),
    "proxy_anchor": (ProxyAnchor(**LEARNED), pml.ProxyAnchorLoss(**LEARNED)),
    "proxy_nca": (ProxyNca(**LEARNED), pml.ProxyNCALoss(**LEARNED)),
    "sup_con": (SupCon(), pml.SupConLoss()),
    "triplet_margin": (TripletMargin(margin=0.3), pml.TripletMarginLoss(margin=0.3)),
    "triplet_smooth": (TripletMargin(smooth_loss=True, swap=True), pml.TripletMarginLoss(smooth_loss=True, swap=True)),
}
Case = tuple[EmbeddingLoss, BaseMetricLossFunction]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Our loss and the library's, with the same parameters."""
    ours, theirs = copy.deepcopy(CASES[request.param])
    with torch.no_grad():
        for mine, other in zip(ours.library.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    return ours, theirs


def batch(seed: int, size: int = 12) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, SIZE, generator=source)
    return embeddings, torch.randint(CLASSES, (size,), generator=source)


def test_the_mean_over_samples_is_the_librarys_value_and_gradient(case: Case) -> None:
    ours, theirs = case
    for seed in range(5):
        embeddings, labels = batch(seed)
        one, other = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
        values, expected = ours(one, labels), theirs(other, labels)
        assert values.shape == (12,)
        torch.testing.assert_close(values.mean(), expected.reshape(()), rtol=1e-4, atol=1e-6)
        values.mean().backward()
        expected.backward()
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)
    for mine, other in zip(ours.library.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_unlabelled_samples_take_no_part(case: Case) -> None:
    ours, theirs = case
    embeddings, labels = batch(1)
    labels[::4] = -1
    values = ours(embeddings, labels)
    torch.testing.assert_close(values.mean(), theirs(embeddings[labels >= 0], labels[labels >= 0]).reshape(()))
    if ours.anchored and not any(p.requires_grad for p in ours.parameters() if p.dim() == 1):
        assert (values[labels < 0] == 0).all()


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0, 0], [-1, -1, -1, -1]], ids=["alone", "one", "none"])
def test_without_a_pair_the_value_is_finite_and_has_a_graph(case: Case, labels: list[int]) -> None:
    ours, _ = case
    embeddings = torch.randn(4, SIZE, requires_grad=True)
    values = ours(embeddings, torch.tensor(labels))
    assert values.isfinite().all()
    values.mean().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


def test_a_samples_value_is_that_of_the_pairs_that_it_anchors() -> None:
    """Three points on a circle: two of class 0 at distance 0.6, one of class 1 opposite the first."""
    cosine = 1 - 0.6**2 / 2
    embeddings = torch.tensor([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5], [-1.0, 0.0]])
    values = Contrastive(neg_margin=1.0)(embeddings, torch.tensor([0, 0, 1]))
    # Positive pairs (0, 1) and (1, 0) cost 0.6 each, the mean over 2; every negative one is farther than the margin.
    torch.testing.assert_close(values, torch.tensor([0.9, 0.9, 0.0]), atol=1e-5, rtol=1e-5)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"labels \[B\], but the prediction is \[4, 2\] and the target \[4, 1\]"):
        NtXent()(torch.randn(4, 2), torch.zeros(4, 1, dtype=torch.int64))
    with pytest.raises(ConfigError, match="float32"):
        NtXent()(torch.randn(4, 2), torch.zeros(4))


def test_a_loss_with_another_mean_is_refused() -> None:
    class Odd(pml.NTXentLoss):
        def get_default_reducer(self):
            from pytorch_metric_learning.reducers import SumReducer

            return SumReducer()

    with pytest.raises(ConfigError, match="SumReducer"):
        EmbeddingLoss(Odd())


class Embeddings(LossSuite):
    """The suite, but for one thing: the library itself looks for pairs with `where`, which waits for the device."""

    def test_waits_for_no_device(self) -> None:
        pytest.skip("pytorch-metric-learning waits for the device")


class TestContrastive(Embeddings):
    loss = Contrastive


class TestTripletMargin(Embeddings):
    def loss(self) -> TripletMargin:
        return TripletMargin(smooth_loss=True)


class TestNtXent(Embeddings):
    loss = NtXent


class TestSupCon(Embeddings):
    loss = SupCon


class TestMultiSimilarity(Embeddings):
    loss = MultiSimilarity


class TestCircle(Embeddings):
    loss = Circle

    def test_gradient_is_that_of_the_value(self) -> None:
        pytest.skip("circle detaches its weights: its gradient is not that of its value")


class TestNca(Embeddings):
    loss = Nca

"""Losses of vectors and of pairs in a batch, against torch's and pair by pair."""

import math

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError, EmptySelectionWarning, LabelError
from autoloss.losses.contrastive import Contrastive
from autoloss.losses.cosine import Cosine
from autoloss.losses.info_nce import InfoNce
from autoloss.losses.nt_xent import NtXent
from autoloss.losses.triplet import Triplet

with torch.random.fork_rng():
    torch.manual_seed(0)
    ONE, OTHER = torch.randn(8, 4).double(), torch.randn(8, 4).double()
    TRIPLETS = torch.randn(8, 3, 4).double()
CLASSES = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])
MASK = torch.tensor([True, True, False, True, True, True, False, True])


def test_cosine_of_a_field_is_the_mean_over_its_vectors() -> None:
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    each = [Cosine()(a.flatten(1).T, b.flatten(1).T).mean() for a, b in zip(one, other, strict=True)]
    assert torch.allclose(Cosine()(one, other), torch.stack(each))


def test_cosine_agrees_with_torch() -> None:
    y = torch.tensor([1, -1, 1, -1, 1, -1, -1, -1])
    theirs = functional.cosine_embedding_loss(ONE, OTHER, y, margin=0.2, reduction="none")
    assert torch.allclose(Cosine(0.2)(torch.stack([ONE, OTHER], 1), y), theirs)
    assert torch.equal(
        Cosine(0.2)(torch.stack([ONE, OTHER], 1), y.clamp(min=0)), Cosine(0.2)(torch.stack([ONE, OTHER], 1), y)
    )
    assert torch.allclose(Cosine()(ONE, OTHER), 1 - functional.cosine_similarity(ONE, OTHER))
    with pytest.raises(LabelError, match="Targets of pairs must be 1, or -1 or 0, but one is 2"):
        Cosine()(torch.stack([ONE, OTHER], 1), y + 1)


def test_triplet_agrees_with_torch() -> None:
    theirs = functional.triplet_margin_loss(*TRIPLETS.unbind(1), margin=0.7, reduction="none")
    assert torch.allclose(Triplet(0.7)(TRIPLETS, CLASSES), theirs)


def test_triplet_takes_the_hardest() -> None:
    apart = torch.cdist(ONE, ONE)
    expected = []
    for i in range(8):
        own = [apart[i, j].item() for j in range(8) if j != i and CLASSES[j] == CLASSES[i]]
        others = [apart[i, j].item() for j in range(8) if CLASSES[j] != CLASSES[i]]
        expected.append(max(0.0, max(own) - min(others) + 0.5) if own else 0.0)
    assert Triplet(0.5)(ONE, CLASSES).tolist() == pytest.approx(expected)


def test_contrastive_by_its_pairs() -> None:
    apart = torch.cdist(ONE, ONE)
    expected = [
        sum(
            apart[i, j].item() ** 2 if CLASSES[j] == CLASSES[i] else max(0.0, 2.5 - apart[i, j].item()) ** 2
            for j in range(8)
            if j != i
        )
        / 7
        for i in range(8)
    ]
    assert Contrastive(2.5)(ONE, CLASSES).tolist() == pytest.approx(expected)


def test_info_nce_is_cross_entropy_of_the_similarities() -> None:
    similar = functional.cosine_similarity(ONE[:, None], OTHER[None], dim=2) / 0.2
    theirs = functional.cross_entropy(similar, torch.arange(8), reduction="none")
    assert torch.allclose(InfoNce(0.2)(ONE, OTHER), theirs)


def test_nt_xent_view_by_view() -> None:
    views = functional.normalize(torch.cat([ONE, OTHER]), dim=1)
    similar = (views @ views.T / 0.3).tolist()
    cost = []
    for i in range(16):
        below = sum(math.exp(similar[i][k]) for k in range(16) if k != i)
        cost.append(-math.log(math.exp(similar[i][(i + 8) % 16]) / below))
    assert NtXent(0.3)(ONE, OTHER).tolist() == pytest.approx([(cost[i] + cost[i + 8]) / 2 for i in range(8)])


def test_equal_similarities_cost_the_logarithm_of_the_candidates() -> None:
    same = torch.ones(8, 4)
    assert InfoNce()(same, same).tolist() == pytest.approx([math.log(8)] * 8)
    assert NtXent()(same, same).tolist() == pytest.approx([math.log(15)] * 8)


def test_perfect_separation_costs_nothing_when_cold() -> None:
    apart = torch.eye(8)
    for loss in (InfoNce(0.01), NtXent(0.01)):
        assert loss(apart, apart).tolist() == pytest.approx([0.0] * 8, abs=1e-6)


@pytest.mark.parametrize("loss", [InfoNce(), NtXent()])
def test_a_masked_sample_is_nobodys_candidate(loss) -> None:
    values = loss.masked(ONE, OTHER, MASK)
    assert torch.allclose(values[MASK], loss(ONE[MASK], OTHER[MASK]))
    assert values[~MASK].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss", [Contrastive(2.0), Triplet()])
def test_a_masked_sample_is_in_no_pair(loss) -> None:
    values = loss.masked(ONE, CLASSES, MASK)
    assert torch.allclose(values[MASK], loss(ONE[MASK], CLASSES[MASK]))
    assert values[~MASK].tolist() == [0.0, 0.0]


def test_both_views_get_gradients() -> None:
    one, other = ONE.clone().requires_grad_(), OTHER.clone().requires_grad_()
    for loss in (InfoNce(), NtXent()):
        assert all(g.any() for g in torch.autograd.grad(loss(one, other).sum(), (one, other)))


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        (Triplet(), torch.zeros(8, dtype=torch.int64)),
        (Triplet(), torch.arange(8)),
        (Contrastive(), torch.full((8,), -1)),
        (InfoNce(), torch.zeros(8, 4).double()),
        (NtXent(), torch.zeros(8, 4).double()),
    ],
    ids=["triplet-one-class", "triplet-no-two-alike", "contrastive-nobody", "info_nce-no-keys", "nt_xent-no-views"],
)
def test_a_batch_without_pairs_costs_nothing_and_is_warned_of_once(loss, target) -> None:
    vectors = ONE.clone().requires_grad_()
    with pytest.warns(EmptySelectionWarning, match="it costs 0. Draw"):
        loss(vectors, target)
    values = loss(vectors, target)
    assert values.tolist() == [0.0] * 8
    assert not torch.autograd.grad(values.sum(), vectors)[0].any()


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
@pytest.mark.parametrize("loss", [Contrastive(), Triplet(), Cosine(), InfoNce(), NtXent()])
def test_vectors_that_coincide_and_vectors_of_zeros_have_finite_gradients(loss) -> None:
    for vectors in (torch.ones(4, 3), torch.zeros(4, 3)):
        vectors.requires_grad_()
        target = torch.tensor([0, 0, 1, 1]) if isinstance(loss, (Contrastive, Triplet)) else torch.ones(4, 3)
        (gradient,) = torch.autograd.grad(loss(vectors, target).sum(), vectors)
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Contrastive(0.0), "`margin` must be above 0, but margin=0"),
        (lambda: Triplet(-1.0), "`margin` must be above 0, but margin=-1"),
        (lambda: Cosine(1.5), r"`margin` must lie in \[-1, 1\]"),
        (lambda: InfoNce(0.0), "`temperature` must be above 0, but temperature=0"),
        (lambda: NtXent(-1.0), "`temperature` must be above 0, but temperature=-1"),
        (lambda: Triplet()(ONE, CLASSES[:4]), r"class labels \[B\], but the prediction is \[8, 4\]"),
        (lambda: InfoNce()(TRIPLETS, TRIPLETS), r"takes vectors \[B, D\]"),
        (lambda: Cosine()(TRIPLETS, CLASSES), r"or pairs \[B, 2, D\] with \[B\], but"),
    ],
)
def test_what_does_not_fit_is_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()

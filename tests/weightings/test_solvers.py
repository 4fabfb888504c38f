"""The solvers against the conditions that define their answers, relative to the problem's scale."""

from itertools import product

import pytest
import torch
from torch import Tensor

from autoloss.weightings.solvers import pivoting
from autoloss.weightings.solvers.ball import conflict_averse
from autoloss.weightings.solvers.cone import project
from autoloss.weightings.solvers.equiangular import equiangular
from autoloss.weightings.solvers.min_norm import min_norm
from autoloss.weightings.solvers.newton import fair
from autoloss.weightings.solvers.order import random_order
from autoloss.weightings.solvers.pivoting import complementary
from autoloss.weightings.solvers.prepared import prepare

KINDS = ("random", "flat", "critical", "conflict", "aligned", "twins", "opposite")


def cosines_of(kind: str, size: int, seed: int) -> Tensor:
    """The cosines between gradients of a kind that solvers stumble over, as weightings prepare them."""
    torch.manual_seed(seed)
    rows = {
        "random": lambda: torch.randn(size, 4 * size),
        "flat": lambda: torch.randn(size, max(1, size // 4)),
        # Half as many directions as gradients: 0 is on the verge of their hull.
        "critical": lambda: torch.randn(size, max(2, size // 2)),
        "conflict": lambda: torch.randn(size, 2 * size) + 5 * torch.randn(2 * size) * torch.randn(size, 1).sign(),
        "aligned": lambda: torch.randn(size, 2 * size) + 3 * torch.randn(2 * size),
        "twins": lambda: torch.randn(size // 2 + 1, 2 * size).repeat(2, 1)[:size],
        "opposite": lambda: torch.cat([x := torch.randn(size // 2 + 1, 2 * size), -x])[:size],
    }[kind]()
    prepared = prepare(rows @ rows.T, torch.ones(size).bool())
    assert prepared is not None
    return prepared.definite()


def spread(size: int, decades: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed + 100)
    return 10 ** (decades * (torch.rand(size, dtype=torch.float64) - 0.5))


problems = pytest.mark.parametrize(("kind", "size"), [*product(KINDS, (2, 7)), ("random", 1), ("critical", 40)])


def residual(matrix: Tensor, offset: Tensor, y: Tensor) -> float:
    """How far y is from being complementary, relative to each row's scale."""
    z = y @ matrix + offset
    scale = torch.maximum(y.abs().amax(1), offset.abs().amax(1))
    return float((torch.minimum(y, z).abs().amax(1) / scale).max())


@problems
@pytest.mark.parametrize("patience", [pivoting.PATIENCE, -1], ids=["block", "downhill"])
def test_complementary_meets_its_conditions(kind, size, patience, monkeypatch):
    monkeypatch.setattr(pivoting, "PATIENCE", patience)
    for seed in range(2):
        matrix = cosines_of(kind, size, seed)
        offset = torch.cat([matrix, -spread(size, 6, seed)[None], torch.randn(2, size, dtype=torch.float64)])
        assert residual(matrix, offset, complementary(matrix, offset)) < 1e-9


def test_complementary_is_the_best_of_all_supports():
    matrix = cosines_of("conflict", 4, 0)
    offset = torch.randn(1, 4, dtype=torch.float64)

    def value(y: Tensor) -> float:
        return float(0.5 * y @ matrix @ y + offset[0] @ y)

    best = 0.0
    for chosen in product([False, True], repeat=4):
        index = torch.tensor(chosen).nonzero()[:, 0]
        y = torch.zeros(4, dtype=torch.float64)
        y[index] = torch.linalg.solve(matrix[index][:, index], -offset[0, index])
        best = min(best, value(y)) if (y >= 0).all() else best
    assert best < 0
    assert value(complementary(matrix, offset)[0]) == pytest.approx(best, rel=1e-12)


def test_complementary_is_the_same_from_any_start():
    matrix = cosines_of("random", 10, 0)
    offset = torch.randn(6, 10, dtype=torch.float64)
    expected = complementary(matrix, offset)
    for start in (torch.zeros(6, 10).bool(), torch.ones(6, 10).bool(), torch.rand(6, 10) < 0.5):
        torch.testing.assert_close(complementary(matrix, offset, start), expected)


@problems
def test_min_norm_is_the_shortest(kind, size):
    """Exactly if <g_k, d> >= ||d||^2 for every k: weighing it with any w on the simplex shows it."""
    for seed, decades in enumerate((0, 4, 12)):
        cosines, norms = cosines_of(kind, size, seed), spread(size, decades)
        weights = min_norm(cosines, norms)
        assert (weights >= 0).all()
        assert float(weights.sum()) == pytest.approx(1)
        along = cosines @ (weights * norms)
        length = (weights * norms) @ along
        assert (along - length / norms >= -1e-8 * length.sqrt()).all()


@problems
def test_projections_meet_their_conditions(kind, size):
    """v >= u, no conflict, and d - x a combination of the constraints that hold with equality."""
    for seed in range(2):
        cosines = cosines_of(kind, size, seed)
        given = torch.randn(5, size, dtype=torch.float64)
        found = project(cosines, given)
        added, slopes = found - given, found @ cosines
        scale = torch.maximum(found.abs().amax(1), given.abs().amax(1))[:, None]
        assert (added >= 0).all()
        assert (slopes >= -1e-9 * scale).all()
        assert (torch.minimum(added, slopes).abs() <= 1e-9 * scale).all()
        again = project(cosines, found) - found
        assert ((again @ cosines).abs() <= 1e-9 * scale).all()


@problems
@pytest.mark.parametrize("radius", [0.0, 0.4, 1.0, 3.0])
def test_conflict_averse_closes_the_duality_gap(kind, size, radius):
    """min_k <g_k, d> is at most ``<g_w, s> + radius ||s|| ||g_w||`` for any w, and equal for the best."""
    for seed, decades in enumerate((0, 4, 8)):
        cosines, norms = cosines_of(kind, size, seed), spread(size, decades)
        weights = conflict_averse(cosines, norms, radius)
        added = weights - 1
        total = (norms @ cosines @ norms).sqrt()
        length = ((added * norms) @ cosines @ (added * norms)).clamp(min=0).sqrt()
        assert (added >= 0).all()
        assert float(length) == pytest.approx(float(radius * total), rel=1e-9)
        if radius == 0:
            continue
        simplex = added / added.sum()
        served = norms * (cosines @ (weights * norms))
        terms = norms * (cosines.abs() @ (weights * norms))
        bound = simplex @ (norms * (cosines @ norms)) + radius * total * length / added.sum()
        assert float(served.min() - bound) >= -1e-9 * float(terms.max())


@problems
@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_fair_meets_its_condition(kind, size, alpha):
    for seed, decades in enumerate((0, 4, 8)):
        cosines, norms = cosines_of(kind, size, seed), spread(size, decades)
        weights = fair(cosines, norms, alpha)
        assert (weights > 0).all()
        wanted = weights ** (-1 / alpha)
        found = norms * (cosines @ (weights * norms))
        # The sum of terms that cancel is only as right as the terms.
        terms = norms * (cosines.abs() @ (weights * norms))
        assert ((found - wanted).abs() <= 1e-9 * wanted + 1e-13 * terms).all()


@pytest.mark.parametrize("cosine", [-0.9, -0.999, -1 + 1e-6])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_fair_solves_hard_conflicts(cosine, alpha):
    cosines = torch.tensor([[1, cosine], [cosine, 1]], dtype=torch.float64)
    weights = fair(cosines, torch.ones(2, dtype=torch.float64), alpha)
    expected = (1 + cosine) ** (-alpha / (alpha + 1))
    torch.testing.assert_close(weights, torch.full((2,), expected, dtype=torch.float64), rtol=1e-8, atol=0)


@pytest.mark.parametrize("seed", [23, 160, 0, 1])
def test_fair_meets_its_condition_over_twelve_decades(seed):
    """Seeds 23 and 160 take more than 200 steps."""
    draw, alpha = torch.Generator().manual_seed(seed), 10.0
    rows = torch.randn(20, 25, generator=draw, dtype=torch.float64)
    norms = 10 ** (12 * torch.rand(20, generator=draw, dtype=torch.float64) - 6)
    rows, norms = rows / rows.norm(dim=1, keepdim=True), norms / norms.norm()
    cosines = torch.lerp(rows @ rows.T, torch.eye(20, dtype=torch.float64), 1e-6)
    weights = fair(cosines, norms, alpha)
    wanted, found = weights ** (-1 / alpha), norms * (cosines @ (weights * norms))
    terms = norms * (cosines.abs() @ (weights * norms))
    assert ((found - wanted).abs() <= 1e-9 * wanted + 1e-13 * terms).all()


@problems
def test_equiangular_projects_on_all_alike(kind, size):
    """On each by 1 where the gradients are independent, else with the least squared error."""
    cosines = cosines_of(kind, size, 0)
    error = cosines @ equiangular(cosines) - 1
    if kind in ("random", "conflict", "aligned"):
        assert error.abs().max() < 1e-9
    assert (cosines @ error).abs().max() < 1e-5 * size


def test_random_order_holds_each_other_loss_once():
    index = torch.tensor([0, 2, 3])
    order = random_order(5, index, seed=1, step=7)
    assert [sorted([i, *row]) for i, row in enumerate(order.tolist())] == [[0, 1, 2]] * 3
    assert torch.equal(order, random_order(5, index, 1, 7))
    drawn = {tuple(random_order(5, index, 1, step)[0].tolist()) for step in range(20)}
    assert drawn == {(1, 2), (2, 1)}


def test_random_order_of_the_rest_does_not_depend_on_who_is_there():
    everyone = random_order(4, torch.arange(4), seed=0, step=3)[1].tolist()
    fewer = random_order(4, torch.tensor([1, 2, 3]), seed=0, step=3)[0]
    assert [int(i) + 1 for i in fewer] == [i for i in everyone if i != 0]


class TestPrepare:
    def test_keeps_what_is_present_and_has_a_gradient(self):
        gram = torch.diag(torch.tensor([4.0, 0.0, 9.0, 1.0]))
        prepared = prepare(gram, torch.tensor([True, True, True, False]))
        assert prepared.index.tolist() == [0, 2]
        torch.testing.assert_close(prepared.norms * prepared.scale, torch.tensor([2.0, 3.0], dtype=torch.float64))
        torch.testing.assert_close(prepared.gram * prepared.scale**2, gram.double()[[0, 2]][:, [0, 2]])
        assert float(prepared.norms.square().sum()) == pytest.approx(1)

    def test_leaves_out_gradients_that_are_rounding(self):
        prepared = prepare(torch.diag(torch.tensor([1.0, 1e-36, 1e-24])), torch.ones(3).bool())
        assert prepared.index.tolist() == [0, 2]

    def test_gives_none_for_what_is_not_finite(self):
        assert prepare(torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]]), torch.ones(2).bool()) is None

    def test_of_no_gradients_is_empty(self):
        assert len(prepare(torch.zeros(3, 3), torch.ones(3).bool()).index) == 0

    @pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-3])
    def test_cosines_become_definite_and_stay_cosines(self, noise):
        """Also with the noise of a TF32 product, where a Gram matrix has eigenvalues well below 0."""
        torch.manual_seed(0)
        rows = torch.nn.functional.normalize(torch.randn(12, 3))
        error = torch.randn(12, 12)
        cosines = prepare(rows @ rows.T + noise * (error + error.T), torch.ones(12).bool()).definite()
        assert torch.linalg.eigvalsh(cosines)[0] > 4e-7
        torch.testing.assert_close(cosines.diagonal(), torch.ones(12, dtype=torch.float64))
        torch.testing.assert_close(cosines, (rows @ rows.T).double(), rtol=0, atol=2e-6 + 30 * noise)

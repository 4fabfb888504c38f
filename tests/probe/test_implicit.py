"""Implicit hypergradients: the analytic ones of a quadratic, a dense solve, and real steps."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.probe.implicit import Implicit, hessian_of

WEIGHTS, TARGETS = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.0, "b": 1.0, "c": 4.0}
EXACT, FIRST = (0.5185, 0.2963, -0.3704), (0.3111, 0.1778, -0.2222)


class Point(nn.Module):
    """One parameter at the minimum of the weighted quadratics."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(14.0 / 6, dtype=torch.float64))


def told(implicit):
    point = Point()
    balancer, found = Balancer("abc", {"name": "auto_lambda"}, base=WEIGHTS), []
    optimizer = torch.optim.SGD(point.parameters(), 0.0)

    def losses(point):
        return {name: 0.5 * (point.at - target) ** 2 for name, target in TARGETS.items()}

    with balancer.lookahead(
        point,
        optimizer,
        train=losses,
        held_out=lambda point: {"a": 0.5 * (point.at - 1) ** 2},
        implicit=implicit,
        objective="sum",
    ):
        look_ahead = balancer._look_ahead
        measure = look_ahead.alignment
        look_ahead.alignment = lambda *args: found.append(measure(*args)) or found[0]
        balancer(losses(point)).backward()
        optimizer.step()
    return found[0].tolist()


@pytest.mark.parametrize(
    ("implicit", "expected", "precision"),
    [
        (Implicit("neumann", terms=0, step=0.1), FIRST, 1e-3),
        (Implicit("neumann", terms=50, step=0.1), EXACT, 2e-4),
        (Implicit("cg", terms=1, damping=0.0), EXACT, 2e-4),
        (Implicit("cg", terms=9, damping=0.0), EXACT, 2e-4),
    ],
)
def test_the_quadratic(implicit, expected, precision):
    assert told(implicit) == pytest.approx(expected, rel=precision)
    if expected is EXACT:
        exact = [(4 / 3) / 6 * (14 / 6 - target) for target in TARGETS.values()]
        assert told(implicit) == pytest.approx(exact, rel=1e-12)


def test_both_solve_what_a_dense_solver_solves():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    x = torch.randn(40, 3).double()
    y = net(x).detach()  # at a minimum the Hessian has no negative eigenvalue
    parameters = list(net.parameters())

    def total():
        return (net(x) - y).square().mean() + 0.05 * sum(p.square().sum() for p in parameters)

    sizes = [p.numel() for p in parameters]

    def flat(values):
        return torch.cat([values[p].reshape(-1) for p in parameters])

    def shaped(vector):
        return {p: part.view_as(p) for p, part in zip(parameters, vector.split(sizes), strict=True)}

    product = hessian_of(total, net)
    dense = torch.stack([flat(product(shaped(row))) for row in torch.eye(sum(sizes)).double()])
    torch.testing.assert_close(dense, dense.T)
    gradient = torch.randn(sum(sizes)).double()
    by_cg = flat(Implicit("cg", terms=80, damping=0.1).solve(product, shaped(gradient)))
    torch.testing.assert_close(
        by_cg, torch.linalg.solve(dense + 0.1 * torch.eye(len(dense)), gradient), rtol=1e-6, atol=1e-8
    )
    by_series = flat(Implicit("neumann", terms=1500, step=0.3).solve(product, shaped(gradient)))
    torch.testing.assert_close(by_series, torch.linalg.solve(dense, gradient), rtol=1e-6, atol=1e-8)


def test_negative_curvature_ends_the_iteration():
    p = nn.Parameter(torch.ones(2, dtype=torch.float64))
    found = Implicit("cg", terms=5, damping=0.0).solve(lambda v: {p: -v[p]}, {p: torch.ones(2, dtype=torch.float64)})
    assert found[p].tolist() == [0.0, 0.0]


def test_wrong_options_are_named():
    with pytest.raises(UnknownNameError, match="No method is called 'newton'"):
        Implicit("newton")
    for key, value in (("terms", -1), ("step", 0), ("damping", -1)):
        with pytest.raises(ConfigError, match=f"`{key}` must be"):
            Implicit(**{key: value})

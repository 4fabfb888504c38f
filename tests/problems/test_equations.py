"""Poisson, wave, Kovasznay flow, Allen-Cahn: their solutions solve them, and nothing else does."""

import pytest
import torch

from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.errors import ConfigError
from autoloss.problems._field import Field
from autoloss.problems.allen_cahn import DIFFUSION, REACTION, AllenCahn, spectral, start
from autoloss.problems.navier_stokes import NavierStokes
from autoloss.problems.poisson import Poisson
from autoloss.problems.wave import Wave
from tests.problems.exact_field import Exact, jet_of

EXACT = [
    pytest.param(lambda: Poisson(points=64), id="poisson"),
    pytest.param(lambda: Poisson(width=0.4, points=64), id="another width"),
    pytest.param(lambda: Wave(points=64), id="wave"),
    pytest.param(lambda: Wave(speed=1.5, frequency=3, points=64), id="another wave"),
    pytest.param(lambda: NavierStokes(points=64), id="navier_stokes"),
    pytest.param(lambda: NavierStokes(reynolds=10.0, points=64), id="a slower flow"),
]


def other(problem):
    """The solution and something that breaks each of the equations."""

    def field(points):
        true = problem._field(points)
        extra = 0.1 * (points[:, 0] ** 2 + points[:, 1])
        return true + (extra if true.dim() == 1 else extra[:, None])

    return field


@pytest.mark.parametrize("make", EXACT)
def test_the_solution_has_no_loss_and_another_function_has(make):
    problem = make()
    batch = {name: column.double() for name, column in problem.datasets(0)["train"].columns.items()}
    found = problem.equations(Exact(problem._field), batch)
    assert set(found) == set(problem.terms)
    for name, term in found.items():
        torch.testing.assert_close(term.prediction, term.target, rtol=0, atol=2e-5, msg=name)
    for name, term in problem.equations(Exact(other(problem)), batch).items():
        assert (term.prediction - term.target).abs().max() > 1e-2, name
    for points, solution in problem.solutions().values():
        torch.testing.assert_close(
            problem.known(problem._field(points)) if solution.dim() > 1 else problem._field(points), solution
        )


def test_the_spectral_solution_solves_the_allen_cahn_equation():
    x, t, field = spectral()
    finer = spectral.__wrapped__(2048, 4000, 40)[2]
    assert ((finer - field).norm() / field.norm()) < 1e-5
    torch.testing.assert_close(field[:, 0], start(x))
    # Its derivatives, by central differences in time and by Fourier in space, on a finer record.
    x, t, field = spectral.__wrapped__(1024, 4000, 4)
    wave = torch.pi * torch.fft.rfftfreq(len(x), d=1 / len(x), dtype=torch.float64)
    u_xx = torch.fft.irfft(torch.fft.rfft(field, dim=0) * -(wave**2)[:, None], n=len(x), dim=0)
    u_t = (field[:, 2:] - field[:, :-2]) / (t[2:] - t[:-2])
    left = (u_t - DIFFUSION * u_xx[:, 1:-1] - REACTION * (field - field**3)[:, 1:-1])[:, 100:]
    assert left.square().mean().sqrt() < 1e-3 * u_t.square().mean().sqrt()
    # Fronts: the field is near 1 and -1, with little between.
    assert (field[:, -1].abs() > 0.9).double().mean() > 0.75


def test_every_point_of_the_reference_is_in_val_or_test_once():
    (val, _), (test, _) = AllenCahn().solutions().values()
    assert len({tuple(p) for p in torch.cat([val, test]).tolist()}) == len(val) + len(test) == 256 * 101


@pytest.mark.parametrize("waves", [0, 1, 3])
@pytest.mark.parametrize("outputs", [1, 3])
def test_derivatives_of_periodic_and_of_several_fields_are_those_of_autograd(waves, outputs):
    torch.manual_seed(waves + outputs)
    network = Field([-1.0, 0.0], [1.0, 2.0], [6, 5], outputs=outputs, waves=waves).double()
    points = torch.rand(11, 2, dtype=torch.float64) * 2 - torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected, found = jet_of(network, points), network.jet(points)
    for one, two in ((expected.value, found.value), (expected.first, found.first), (expected.second, found.second)):
        assert one.shape == two.shape
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
    value, first = network.slopes(points)
    torch.testing.assert_close(value, found.value)
    torch.testing.assert_close(first, found.first, rtol=1e-12, atol=1e-14)
    moved = points + torch.tensor([2.0, 0.0], dtype=torch.float64)
    assert torch.allclose(network(points), network(moved)) == (waves > 0)


def test_a_periodic_network_has_no_loss_for_its_ends_and_a_plain_one_has():
    assert set(AllenCahn().terms) == {"residual", "initial"}
    plain = AllenCahn(periodic=0, points=16)
    assert set(plain.terms) == {"residual", "initial", "boundary"}
    network = plain.network()
    term = plain.equations(network, plain.datasets(0)["train"].columns)["boundary"]
    assert term.prediction.shape == (16, 2)
    assert (term.prediction - term.target).abs().max() > 1e-3
    around = AllenCahn(periodic=2, points=16).network()
    left, right = (plain._end(around, plain.datasets(0)["train"].columns["boundary"], side) for side in (-1.0, 1.0))
    torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Poisson(width=0.0), "`width` must be above 0"),
    (lambda: Wave(speed=-1.0), "`speed` must be above 0"),
    (lambda: Wave(frequency=1.5), "`frequency` must be a whole number"),
    (lambda: NavierStokes(reynolds=0.0), "`reynolds` must be above 0"),
    (lambda: AllenCahn(periodic=-1), "`periodic` must be a whole number"),
])  # fmt: skip
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("name", ["poisson", "wave", "navier_stokes", "allen_cahn"])
def test_it_trains_from_the_command_line(name, tmp_path):
    small = ["problem.points=256", "problem.hidden=[8,8]", "trainer.max_epochs=2", "test=true", "weighting=gradnorm"]
    summary = train(composed("train", [f"problem={name}", *small, "trainer.accelerator=cpu"]), tmp_path / "run")
    assert 0 < summary["metrics"]["relative_l2"] < 20
    assert 0 < summary["test_metrics"]["relative_l2"] != summary["metrics"]["relative_l2"]

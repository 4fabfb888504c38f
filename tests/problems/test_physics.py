"""Physics-informed problems: derivatives, equations, points, metric, files."""

import math

import pytest
import torch
from scipy.io import savemat

from autoloss import Balancer
from autoloss.app.composition import composed
from autoloss.app.train_one import train
from autoloss.core.errors import ConfigError
from autoloss.core.need import GRADIENTS
from autoloss.core.registry.lookup import registry
from autoloss.problems._field import Field
from autoloss.problems.burgers import Burgers
from autoloss.problems.helmholtz import Helmholtz
from autoloss.problems.klein_gordon import KleinGordon
from tests.problems.exact_field import Exact, jet_of

REQUIRED = {"vqgan": {"adversarial": "boundary"}}


@pytest.fixture
def reference(tmp_path):
    """A file as Burgers' reference solution is, of a travelling wave."""
    x, t = torch.linspace(-1, 1, 12, dtype=torch.float64), torch.linspace(0, 1, 5, dtype=torch.float64)
    points = torch.cartesian_prod(x, t)
    savemat(
        tmp_path / "burgers_shock.mat",
        {"x": x.numpy()[:, None], "t": t.numpy()[:, None], "usol": wave(points).reshape(12, 5).numpy()},
    )
    return tmp_path


def wave(points, speed=0.5, viscosity=0.1):
    x, t = points.unbind(1)
    return speed - speed * torch.tanh(speed * (x - speed * t) / (2 * viscosity))


@pytest.mark.parametrize("hidden", [[3], [8, 5], [6, 7, 8, 9]])
def test_derivatives_are_those_of_nested_autograd(hidden):
    torch.manual_seed(len(hidden))
    network = Field([-1.0, 0.0], [3.0, 0.5], hidden).double()
    points = torch.randn(11, 2, dtype=torch.float64)
    expected, found = jet_of(network, points), network.jet(points)
    for one, other in ((expected.value, found.value), (expected.first, found.first), (expected.second, found.second)):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    value, first = network.slopes(points)
    assert torch.equal(value, found.value)
    torch.testing.assert_close(first, found.first, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        assert torch.equal(network.jet(points).second, found.second)


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param(Helmholtz(points=64), id="helmholtz"),
        pytest.param(Helmholtz(waves=[2, 3], k=2.5, points=64), id="other waves"),
        pytest.param(KleinGordon(points=64), id="klein_gordon"),
        pytest.param(KleinGordon(frequency=2.0, points=64), id="another frequency"),
    ],
)
def test_the_solution_has_no_loss_and_another_function_has(problem):
    batch = {name: column.double() for name, column in problem.datasets(0)["train"].columns.items()}
    for term in problem.equations(Exact(problem._field), batch).values():
        torch.testing.assert_close(term.prediction, term.target, rtol=0, atol=1e-5)
    for name, term in problem.equations(Exact(lambda p: problem._field(p) + 0.1 * p.square().sum(1)), batch).items():
        assert (term.prediction - term.target).abs().max() > 1e-2, name
    for points, solution in problem.solutions().values():
        assert torch.equal(problem._field(points), solution)


def test_a_travelling_wave_solves_burgers_equation(reference):
    problem = Burgers(str(reference), viscosity=0.1, points=50)
    batch = {name: column.double() for name, column in problem.datasets(0)["train"].columns.items()}
    residual = problem.equations(Exact(wave), batch)["residual"]
    torch.testing.assert_close(residual.prediction, residual.target, rtol=0, atol=1e-12)
    assert problem.equations(Exact(lambda p: 1.1 * wave(p)), batch)["residual"].prediction.abs().max() > 1e-2
    start = Exact(lambda p: -torch.sin(math.pi * p[:, 0]))
    for name in ("boundary", "initial"):
        term = problem.equations(start, batch)[name]
        torch.testing.assert_close(term.prediction, term.target, rtol=0, atol=1e-6)


def test_points_lie_where_they_must(reference):
    for problem in (Helmholtz(points=200), KleinGordon(points=200), Burgers(str(reference), points=200)):
        low, high = torch.tensor(problem.low), torch.tensor(problem.high)
        data, again, other = problem.datasets(0), problem.datasets(0), problem.datasets(1)
        assert data["train"].columns.pop("index").tolist() == list(range(200))
        for name, points in data["train"].columns.items():
            assert points.shape == (200, 2)
            assert ((points >= low) & (points <= high)).all()
            assert torch.equal(points, again["train"].columns[name])
            assert not torch.equal(points, other["train"].columns[name])
        boundary = data["train"].columns["boundary"]
        on_wall = torch.stack([(boundary[:, a] == low[a]) | (boundary[:, a] == high[a]) for a in problem.walls])
        assert on_wall.any(0).all()
        # Every wall has its share.
        shares = [(boundary[:, a] == end[a]).float().mean() for a in problem.walls for end in (low, high)]
        assert min(shares) > 0.5 / len(shares)
        if "initial" in problem.terms:
            assert (data["train"].columns["initial"][:, 1] == low[1]).all()
        seen = [{tuple(p) for p in data[split].columns["points"][0].tolist()} for split in ("val", "test")]
        corners = {(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)} if isinstance(problem, Helmholtz) else set()
        assert seen[0] & seen[1] == corners


def test_the_metric_is_the_relative_error_over_the_whole_grid(reference):
    problem = Burgers(str(reference))
    data, network = problem.datasets(0), problem.network()
    batch = data["val"].collate(data["val"].__getitems__([0]))
    with torch.inference_mode():
        found = problem.measure(problem.outputs(network, batch))["relative_l2"]
        points, solution = problem.solutions()["val"]
        expected = torch.linalg.norm(network(points.float()) - solution) / torch.linalg.norm(solution)
    assert found.shape == (1,)
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-5, atol=0)
    training = problem.outputs(network, data["train"].__getitems__([0, 1, 2]))
    assert problem.measure(training)["relative_l2"].numel() == 0


def weightings():
    for name in registry.names("weighting"):
        try:
            weighting = registry.build("weighting", name, **REQUIRED.get(name, {}))
        except ConfigError:
            continue
        if not hasattr(weighting, "combine"):
            yield name


@pytest.mark.parametrize("name", list(weightings()))
def test_every_weighting_trains_on_losses_with_disjoint_points(name):
    torch.manual_seed(0)
    problem = KleinGordon(hidden=[16, 16], points=32)
    batch, network = problem.datasets(0)["train"].__getitems__(list(range(32))), problem.network()
    balancer = Balancer(list(problem.terms), {"name": name, **REQUIRED.get(name, {})}, total_steps=25)
    optimizer = torch.optim.Adam(network.parameters(), 0.003)

    def losses(net):
        return {n: (t.prediction - t.target).square() for n, t in problem.outputs(net, batch).terms.items()}

    before = {n: float(v.detach().mean()) for n, v in losses(network).items()}
    for _ in range(25):
        with balancer.lookahead(network, optimizer, train=losses, held_out=losses):
            outputs = problem.outputs(network, batch)
            of = {n: (t.prediction - t.target).square() for n, t in outputs.terms.items()}
            optimizer.zero_grad()
            balancer(of, anchor=outputs.anchor).backward()
            optimizer.step()
    after = {n: float(v.detach().mean()) for n, v in losses(network).items()}
    assert all(math.isfinite(w) for w in balancer.weights.values())
    assert any(after[n] < before[n] for n in before)
    assert all(math.isfinite(v) for v in after.values())
    assert balancer.player.unbalanced.logical_not().all() or not balancer.player.weighting.needs & GRADIENTS


def test_annealing_meets_the_residuals_largest_slope_at_the_parameters():
    torch.manual_seed(0)
    problem = Helmholtz(hidden=[10, 10], points=64)
    batch, network = problem.datasets(0)["train"].__getitems__(list(range(64))), problem.network()
    outputs = problem.outputs(network, batch)
    losses = {n: (t.prediction - t.target).square() for n, t in outputs.terms.items()}
    slopes = {
        n: torch.cat(
            [g.flatten() for g in torch.autograd.grad(v.mean(), list(network.parameters()), retain_graph=True)]
        )
        for n, v in losses.items()
    }
    balancer = Balancer(list(losses), {"name": "lr_annealing", "decay": 0.0})
    balancer(losses, anchor=outputs.anchor).backward()
    expected = slopes["residual"].abs().max() / slopes["boundary"].abs().mean()
    assert balancer.weights["residual"] == 1
    assert balancer.weights["boundary"] == pytest.approx(float(expected), rel=1e-4)
    assert expected > 100


def test_what_is_wrong_with_a_reference_is_said_in_one_sentence(tmp_path):
    with pytest.raises(
        ConfigError, match=r"problem\.data must be .*, but there is no file '.*nowhere'\. Give burgers_shock\.mat of"
    ):
        Burgers(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"there is no file '.*burgers_shock\.mat'"):
        Burgers(str(tmp_path))
    (tmp_path / "text.mat").write_text("this is no MATLAB file, whatever it is called " * 20)
    with pytest.raises(ConfigError, match="is no MATLAB file"):
        Burgers(str(tmp_path / "text.mat"))
    savemat(tmp_path / "other.mat", {"x": [1.0, 2.0], "u": [0.0]})
    with pytest.raises(ConfigError, match="holds no t, usol"):
        Burgers(str(tmp_path / "other.mat"))
    savemat(tmp_path / "turned.mat", {"x": [1.0, 2.0], "t": [0.0, 0.5, 1.0], "usol": torch.ones(3, 2).numpy()})
    with pytest.raises(ConfigError, match=r"a row for each x and a column for each t, but it is \[3, 2\]"):
        Burgers(str(tmp_path / "turned.mat"))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Helmholtz(waves=[1]), "two whole numbers"),
    (lambda: Helmholtz(k=-1.0), "`k` must be at least 0"),
    (lambda: Helmholtz(hidden=[]), "widths of at least 1"),
    (lambda: KleinGordon(frequency=0.0), "above 0"),
    (lambda: KleinGordon(points=0), "`points` must be at least 1"),
])  # fmt: skip
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_run_from_the_command_line_measures_val_and_test(reference, tmp_path):
    overrides = [
        f"problem.data={reference}",
        "problem.points=256",
        "problem.hidden=[8]",
        "trainer.max_epochs=2",
        "test=true",
    ]
    wrapped = [
        "weighting=lr_annealing",
        "weighting.wrap=[{every_n:{n:2}}]",
        "checkpoint.every=0",
        "trainer.accelerator=cpu",
    ]
    summary = train(composed("train", ["problem=burgers", *overrides, *wrapped]), tmp_path / "run")
    assert summary["steps"] == 4
    assert 0 < summary["metrics"]["relative_l2"] < 10
    assert 0 < summary["test_metrics"]["relative_l2"] != summary["metrics"]["relative_l2"]
    assert summary["final_weights"]["residual"] == 1
    assert summary["final_weights"]["boundary"] != 1

"""The made-up problems on which a rule is learned."""

import ast
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import autoloss.meta.zoo
from autoloss.core.errors import SignalError
from autoloss.core.registry.lookup import registry
from autoloss.meta.zoo.equations import EQUATIONS, Equations
from autoloss.meta.zoo.families import LEARN, UNSEEN, settings
from autoloss.meta.zoo.made import SCALES
from autoloss.meta.zoo.pictures import CLASSES, SIDE, drawn
from autoloss.meta.zoo.trainings import outcomes
from autoloss.problems._field import Jet

FAMILIES = {**LEARN, **UNSEEN}
# What the tables of docs/choosing.md are measured on: their problems, and what their data and equations are.
TABLES = {"two_digits", "left_right", "both_digits", "adult", "klein_gordon", "helmholtz", "burgers", "poisson"}
TABLES |= {"allen_cahn", "digits_vae_gan", "noisy_digits", "diabetes", "wine", "breast_cancer"}
SOURCES = {"sklearn", "digits", "mnist", "images", "tabular", "klein", "gordon", "helmholtz", "burgers", "poisson"}
SOURCES |= {"allen", "cahn", "diabetes", "wine", "cancer"}


def of(family, problems=1, steps=2):
    return replace(settings({family: FAMILIES[family]}, 1, problems, seed=3)[0], steps=steps)


def test_no_family_is_both_learned_on_and_unseen():
    assert not LEARN.keys() & UNSEEN.keys()
    assert len(LEARN) >= 8
    assert len(UNSEEN) >= 8


def test_no_source_of_data_and_no_equation_of_the_tables_is_in_the_zoo():
    """Neither by name nor by import: its modules import no data, and of the problems only what has none."""
    assert {"advection", "heat", "reaction", "wave"} == set(EQUATIONS)
    assert not (EQUATIONS.keys() | CLASSES.keys() | FAMILIES.keys()) & TABLES
    # The problem `wave` is no table; this family of other coefficients is never learned on either.
    assert (EQUATIONS.keys() | CLASSES.keys() | FAMILIES.keys()) & set(registry.names("problem")) <= {"wave"}
    assert "wave" not in LEARN
    for file in Path(autoloss.meta.zoo.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        problems = {module for module in modules if module and module.startswith("autoloss.problems")}
        assert problems <= {"autoloss.problems._field", "autoloss.problems._tensors"}
        outside = {module.partition(".")[0] for module in modules if module} - {"autoloss", "torch"}
        assert outside <= set(sys.stdlib_module_names)
        names = {node.id.lower() for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr.lower() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not [name for name in names if any(source in name for source in SOURCES)]


def test_an_equation_of_a_table_would_be_seen():
    """The residuals of the zoo do not hold for the solutions of the tables' equations."""
    points = torch.rand(50, 2, dtype=torch.float64, requires_grad=True)
    x, t = points.unbind(1)
    c = torch.rand(1, 4, dtype=torch.float64).expand(50, 4)
    known = {
        "klein_gordon": x * torch.cos(5 * torch.pi * t) + (x * t) ** 3,
        "helmholtz": torch.sin(torch.pi * x) * torch.sin(4 * torch.pi * t),
    }
    for u in known.values():
        for equation in EQUATIONS.values():
            assert equation.residual(jet(u, points), c).abs().mean() > 0.01


def jet(u, points):
    (first,) = torch.autograd.grad(u.sum(), points, create_graph=True)
    second = [torch.autograd.grad(first[:, i].sum(), points, retain_graph=True)[0][:, i] for i in range(2)]
    return Jet(u, first.T, torch.stack(second))


@pytest.mark.parametrize("name", list(EQUATIONS))
def test_the_solution_of_an_equation_solves_it(name):
    """Its residual is 0, by differentiating the solution itself; so is a wave's speed at the start."""
    torch.manual_seed(0)
    for _ in range(5):
        points = torch.rand(200, 2, dtype=torch.float64, requires_grad=True)
        x, t = points.unbind(1)
        c = torch.rand(4, dtype=torch.float64).expand(200, 4)
        equation = EQUATIONS[name]
        u = equation.solution(x, t, c)
        found = equation.residual(jet(u, points), c)
        assert found.abs().max() < 1e-8
        assert u.std() > 0.05
        if equation.second:
            start = equation.solution(x, 0 * t, c)
            assert torch.autograd.grad(equation.solution(x, t * 0, c).sum(), points)[0][:, 1].abs().max() < 1e-8
            assert start.std() > 0.05


@pytest.mark.parametrize("name", list(EQUATIONS))
def test_the_exact_solution_has_no_loss_but_that_of_the_network(name):
    """Targets at edge and start are the solution there."""
    data = Equations(name).datasets(5)["train"].columns
    solution = EQUATIONS[name].solution
    for place in ("edge", "start"):
        x, t = data[place].unbind(1)
        torch.testing.assert_close(data[f"at_{place}"], solution(x, t, data["c"]))
    assert set(data["edge"][:, 0].tolist()) == {0.0, 1.0}
    assert set(data["start"][:, 1].tolist()) == {0.0}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_seed_draws_a_problem(family):
    problem = of(family).problem
    one, same, other = (problem.datasets(seed)["train"].columns for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one[SCALES], other[SCALES]) or any(not torch.equal(one[name], other[name]) for name in one)
    assert all(column.isfinite().all() for column in one.values())


def test_scales_lie_within_six_decades():
    problem = of("teachers").problem
    scales = torch.cat([problem.datasets(seed)["train"].columns[SCALES][0] for seed in range(200)])
    assert 1e-3 <= scales.min() < 1e-2
    assert 1e2 < scales.max() <= 1e3
    assert (scales == 1).any()


@pytest.mark.parametrize("style", list(CLASSES))
def test_a_picture_can_be_read(style):
    """Pictures of unlike classes differ more than those of one class, and nothing is drawn outside of [0, 1]."""
    _, kind, number, clean = drawn(style, torch.Generator().manual_seed(0), 2000, 0.0)
    assert clean.shape == (2000, SIDE * SIDE)
    assert clean.min() >= 0
    assert clean.max() <= 1
    assert set(number.tolist()) == {1, 2, 3}
    spectrum = torch.fft.fft2(clean.view(-1, SIDE, SIDE)).abs().flatten(1) if style != "blobs" else clean
    means = torch.stack([spectrum[kind == k].mean(0) for k in range(CLASSES[style])])
    right = torch.cdist(spectrum, means).argmin(1) == kind
    assert right.float().mean() > 0.6


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_trains_in_a_fleet(family):
    """Each metric is above 0 and finite; the same weighting twice gives the same, equal weights and auto differ."""
    setting = of(family, problems=2, steps=4)
    found = outcomes(setting, ["equal", "auto", "equal"], starts=2)
    assert found.shape == (3, 2, 2, len(setting.problem.metrics))
    assert found.isfinite().all()
    assert (found > 0).all()
    torch.testing.assert_close(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_late_tasks_are_absent_at_first():
    problem = of("late").problem
    columns = problem.datasets(0)["train"].columns
    assert columns["start"][0, 0] == 0
    assert columns["start"][0, 1:].min() > 0


def test_pure_noise_has_nothing_to_learn():
    """The last tasks of such teachers do not depend on the samples: least squares explains nothing."""
    problem = FAMILIES["twelve"](random.Random(0))
    columns = problem.datasets(0)["train"].columns
    for task in problem.tasks[-3:]:
        target = columns[task.name].float().reshape(len(columns["x"]), -1)
        target = target - target.mean(0)
        fit = columns["x"] @ torch.linalg.lstsq(columns["x"], target).solution
        assert 1 - (target - fit).square().sum() / target.square().sum() < 0.15


def test_without_an_anchor_auto_follows_values_and_others_say_what_they_need():
    setting = of("teachers", problems=2, steps=4)
    anchored, values = (outcomes(setting, ["equal", "auto"], anchored=way) for way in (True, False))
    torch.testing.assert_close(anchored[0], values[0])
    assert not torch.equal(anchored[1], values[1])
    with pytest.raises(SignalError, match="needs gradients at an anchor"):
        outcomes(setting, ["equal", "gradnorm"], anchored=False)

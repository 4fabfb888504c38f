"""Against TorchJD itself, called directly."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest
import torch
import torchjd.aggregation as tj
from autoloss_torchjd.aligned_mtl import AlignedMtl
from autoloss_torchjd.cagrad import Cagrad
from autoloss_torchjd.dualproj import Dualproj
from autoloss_torchjd.fairgrad import Fairgrad
from autoloss_torchjd.gradvac import Gradvac
from autoloss_torchjd.imtl_g import ImtlG
from autoloss_torchjd.krum import Krum
from autoloss_torchjd.mgda import Mgda
from autoloss_torchjd.nash_mtl import NashMtl
from autoloss_torchjd.pcd import Pcd
from autoloss_torchjd.pcgrad import Pcgrad
from autoloss_torchjd.upgrad import Upgrad
from torch import Tensor

from autoloss import AutolossError, Balancer, ConfigError, PluginError, Signals, Weighting

NAMES = ("a", "b", "c", "d")


def signals(gram: Tensor, absent: tuple[int, ...] = (), step: int = 0) -> Signals:
    present = torch.tensor([i not in absent for i in range(len(gram))])
    shown = gram.where(present & present[:, None], 0.0)
    return Signals(NAMES[: len(gram)], torch.ones(len(gram)), present, step=step, measured_gram=shown)


def gram(seed: int, scale: float = 1.0) -> Tensor:
    rows = torch.randn(4, 10, generator=torch.Generator().manual_seed(seed)) - 0.3
    return scale * rows @ rows.T


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in packages)


quadprog = pytest.mark.skipif(not installed("qpsolvers", "quadprog"), reason="quadprog not installed")
cvxpy = pytest.mark.skipif(not installed("cvxpy", "clarabel", "ecos"), reason="cvxpy or ecos not installed")
scipy = pytest.mark.skipif(not installed("scipy"), reason="scipy not installed")


@pytest.mark.parametrize(
    ("ours", "theirs", "factor"),
    [
        pytest.param(AlignedMtl, tj.AlignedMTLWeighting, 4, id="aligned_mtl"),
        pytest.param(Cagrad, lambda: tj.CAGradWeighting(0.5), 4, marks=cvxpy, id="cagrad"),
        pytest.param(Dualproj, tj.DualProjWeighting, 4, marks=quadprog, id="dualproj"),
        pytest.param(lambda: Fairgrad(2.0), lambda: tj.FairGradWeighting(2.0), 1, marks=scipy, id="fairgrad"),
        pytest.param(ImtlG, tj.IMTLGWeighting, 4, id="imtl_g"),
        pytest.param(Krum, lambda: tj.KrumWeighting(0), 4, id="krum"),
        pytest.param(Mgda, tj.MGDAWeighting, 4, id="mgda"),
        pytest.param(Pcd, tj.PCDWeighting, 1, id="pcd"),
        pytest.param(Upgrad, tj.UPGradWeighting, 4, marks=quadprog, id="upgrad"),
    ],
)  # fmt: skip
def test_weights_are_torchjds(ours, theirs, factor: int) -> None:
    for seed in range(5):
        found = ours().bind(NAMES)(signals(gram(seed)))
        assert torch.allclose(found, factor * theirs()(gram(seed).double()).float(), rtol=2e-3, atol=2e-3)


@cvxpy
def test_nash_mtl_bargains() -> None:
    """TorchJD itself, started from 1 each, stays there for the second of these."""
    for seed in range(5):
        for scale in (1e-8, 1.0):
            g = gram(seed, scale)
            free, cut = (NashMtl(max_norm=norm).bind(NAMES)(signals(g)) for norm in (0.0, 1.0))
            assert torch.allclose((g @ free) * free, torch.ones(4), rtol=1e-3)
            assert torch.allclose(cut, free / 2, rtol=1e-3), "the solution's norm is the root of K"


def test_pcgrad_and_gradvac_are_torchjds_in_the_order_of_their_seed() -> None:
    # With two losses there is only one order.
    for seed in range(5):
        small = gram(seed)[:2, :2]
        assert torch.allclose(Pcgrad().bind(NAMES[:2])(signals(small)), tj.PCGradWeighting()(small))
    theirs, ours = tj.GradVacWeighting(beta=0.3), Gradvac(beta=0.3).bind(NAMES[:2])
    for step in range(6):
        measured = signals(gram(step)[:2, :2], step=step)
        assert torch.allclose(ours(measured), theirs(measured.gram), rtol=1e-4)
        ours.update(measured)


def test_pcds_averages_are_torchjds() -> None:
    theirs, ours = tj.PCDWeighting(tau=0.1, beta=0.9), Pcd(tau=0.1, beta=0.9).bind(NAMES)
    for step in range(6):
        measured = signals(gram(step))
        assert torch.allclose(ours(measured), theirs(measured.gram), rtol=1e-3, atol=1e-5)
        ours.update(measured)


def test_pcd_follows_the_loss_that_is_named() -> None:
    named = Pcd(primary="c", tau={"a": 0.5}).bind(NAMES)(signals(gram(0)))
    order = [2, 0, 1, 3]
    theirs = tj.PCDWeighting(tau=torch.tensor([0.5, 0.0, 0.0]))(gram(0)[order][:, order])
    assert torch.allclose(named[order], theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("absent", [(1,), (0, 3)])
def test_absent_losses_are_dropped(absent: tuple[int, ...]) -> None:
    here = [i for i in range(4) if i not in absent]
    small = gram(0)[here][:, here]
    found = Mgda().bind(NAMES)(signals(gram(0), absent))
    assert torch.allclose(found[here], len(here) * tj.MGDAWeighting()(small), rtol=1e-4)


def test_tiny_gradients_are_still_gradients() -> None:
    """At a layer's features the gradient of a mean over the batch is small; TorchJD takes it for 0."""
    for build in [Mgda, AlignedMtl, ImtlG, Pcgrad] + [Upgrad, Dualproj] * installed("qpsolvers", "quadprog"):
        usual, tiny = build().bind(NAMES)(signals(gram(1))), build().bind(NAMES)(signals(gram(1, 1e-12)))
        assert torch.allclose(usual, tiny, rtol=1e-3), build.__name__


def test_preference_by_name_or_in_order() -> None:
    by_name = AlignedMtl(pref_vector={"b": 3.0}).bind(NAMES)(signals(gram(0)))
    in_order = AlignedMtl(pref_vector=[1.0, 3.0, 1.0, 1.0]).bind(NAMES)(signals(gram(0)))
    theirs = tj.AlignedMTLWeighting(torch.tensor([1.0, 3.0, 1.0, 1.0]))(gram(0))
    assert torch.equal(by_name, in_order)
    assert torch.allclose(by_name, theirs, rtol=1e-4)
    with pytest.raises(ConfigError, match="a number for each loss, but it has 2"):
        AlignedMtl(pref_vector=[1.0, 2.0]).bind(NAMES)


def test_orders_come_from_the_seed_and_the_step_alone() -> None:
    def many(seed: int) -> Tensor:
        return torch.stack([Pcgrad(seed).bind(NAMES)(signals(gram(1), step=step)) for step in range(12)])

    torch.manual_seed(0)
    first, drawn = many(0), torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn), "the global generator must be left as it was"
    assert torch.equal(many(0), first)
    assert not torch.equal(many(1), first)
    assert len({tuple(row.tolist()) for row in first}) > 1


@pytest.mark.parametrize(
    ("build", "packages", "extra"),
    [
        pytest.param(Cagrad, ("cvxpy", "clarabel"), "torchjd[cagrad]", id="cagrad"),
        pytest.param(NashMtl, ("cvxpy", "ecos"), "torchjd[nash_mtl]", id="nash_mtl"),
        pytest.param(Upgrad, ("qpsolvers", "quadprog"), "torchjd[quadprog_projector]", id="upgrad"),
        pytest.param(Dualproj, ("qpsolvers", "quadprog"), "torchjd[quadprog_projector]", id="dualproj"),
        pytest.param(Fairgrad, ("scipy",), "torchjd[fairgrad]", id="fairgrad"),
    ],
)
def test_a_missing_solver_is_named_with_its_cure(
    build: type[Weighting], packages: tuple[str, ...], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in packages else real(name, package)

    monkeypatch.setattr("torchjd._mixins.find_spec", find_spec)
    with pytest.raises(PluginError) as caught:
        build()
    said = str(caught.value)
    assert f"Weighting {build.title()!r} must have its solver" in said
    assert all(name in said for name in packages)
    assert f'pip install "{extra}"' in said


@pytest.mark.parametrize(
    ("build", "parameters", "said"),
    [
        (Mgda, {"epsilon": 0.0}, "epsilon must be positive"),
        (Gradvac, {"beta": 2.0}, "`beta` must be in"),
        (Krum, {"n_byzantine": -1}, "n_byzantine must be non-negative"),
        (Krum, {"n_byzantine": 2}, "at least 5 losses, but there are 4"),
        (Pcd, {"tau": 2.0}, "`tau` must be in"),
        (Pcd, {"primary": "z"}, "No loss is called 'z'"),
        (AlignedMtl, {"scale_mode": "max"}, "must be one of min"),
        (Fairgrad, {"alpha": -1.0}, "`alpha` must be at least 0"),
        (NashMtl, {"optim_niter": 0}, "`optim_niter` must be at least 1"),
    ],
    ids=str,
)
def test_wrong_parameters_are_errors_when_built(build, parameters: dict[str, object], said: str) -> None:
    with pytest.raises(AutolossError, match=said):
        build(**parameters).bind(NAMES)


def test_a_loop_of_ones_own() -> None:
    balancer = Balancer(["a", "b"], {"name": "autoloss_torchjd.mgda:Mgda", "max_iters": 50}, total_steps=3)
    features = torch.randn(5, 3, requires_grad=True) * 1.0
    total = balancer({"a": features.square().mean(), "b": (features - 3).square().mean()}, anchor=features)
    total.backward()
    assert sum(balancer.weights.values()) == pytest.approx(2.0)

"""The same numbers as TorchJD where it has the method and both can be right, up to the documented factor."""

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from autoloss.weightings.aligned_mtl import AlignedMtl
from autoloss.weightings.cagrad import Cagrad
from autoloss.weightings.config import Config
from autoloss.weightings.dualproj import Dualproj
from autoloss.weightings.fairgrad import Fairgrad
from autoloss.weightings.gradvac import Gradvac
from autoloss.weightings.imtl_g import ImtlG
from autoloss.weightings.mgda import Mgda
from autoloss.weightings.nash_mtl import NashMtl
from autoloss.weightings.pcgrad import Pcgrad
from autoloss.weightings.upgrad import Upgrad

theirs = pytest.importorskip("torchjd.aggregation")


def jacobian(seed: int, size: int = 4) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(size, 9, generator=source, dtype=torch.float64) - 0.3


# Ours, theirs, how many times as long ours is for K losses, and the error that theirs is known for.
CASES = {
    "mgda": (Mgda, lambda: theirs.MGDA(epsilon=1e-6, max_iters=3000), lambda k: k, 2e-2),
    "imtl_g": (ImtlG, theirs.IMTLG, lambda k: k, 1e-5),
    "aligned_mtl": (AlignedMtl, theirs.AlignedMTL, lambda k: k, 1e-4),
    "aligned_mtl rmse": (lambda: AlignedMtl("rmse"), lambda: theirs.AlignedMTL(scale_mode="rmse"), lambda k: k, 1e-4),
    "config": (Config, theirs.ConFIG, lambda k: 1, 1e-5),
    "fairgrad": (lambda: Fairgrad(2.0, 0), lambda: theirs.FairGrad(2.0), lambda k: 1, 1e-4),
    "upgrad": (Upgrad, lambda: theirs.UPGrad(), lambda k: k, 3e-3),
    "dualproj": (Dualproj, lambda: theirs.DualProj(), lambda k: k, 3e-3),
    "cagrad": (lambda: Cagrad(0.5, rescale=0), lambda: theirs.CAGrad(0.5), lambda k: k, 1e-3),
    "nash_mtl": (NashMtl, lambda: theirs.NashMTL(n_tasks=4), lambda k: 1, 3e-2),
}
# What TorchJD does not install by itself.
EXTRAS = {
    "upgrad": "quadprog",
    "dualproj": "quadprog",
    "cagrad": "cvxpy",
    "nash_mtl": "ecos",
    "fairgrad": "scipy",
}


@pytest.mark.parametrize("name", CASES)
def test_gives_the_same_gradient(name, signals_of):
    if name in EXTRAS and not find_spec(EXTRAS[name]):
        pytest.skip(f"TorchJD's needs {EXTRAS[name]}")
    ours, other, factor, within = CASES[name]
    for seed in range(3):
        rows = jacobian(seed)
        signals = signals_of(torch.ones(4), gram=rows @ rows.T)
        found = ours().bind(signals.names)(signals).double() @ rows
        expected = factor(4) * other()(rows)
        assert_close(found, expected, rtol=0, atol=within * float(expected.norm()))


@pytest.mark.parametrize(
    ("ours", "other"), [(Pcgrad, "PCGrad"), (lambda: Gradvac(0.5), "GradVac")], ids=["pcgrad", "gradvac"]
)
def test_surgery_on_two_gradients_is_the_same(ours, other, signals_of):
    """Of two losses there is one order only; over several steps, for the targets."""
    weighting, reference = ours().bind("ab"), getattr(theirs, other)()
    for step in range(5):
        rows = jacobian(step, size=2)
        rows[1] -= rows[0]
        signals = signals_of([1.0, 1.0], gram=rows @ rows.T, step=step)
        found = weighting(signals).double() @ rows
        weighting.update(signals)
        assert_close(found, reference(rows), rtol=1e-5, atol=1e-5)

from __future__ import annotations

from importlib.util import find_spec

import pytest
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

from autoloss.testing import WeightingSuite


def needs(*packages: str) -> pytest.MarkDecorator:
    missing = [name for name in packages if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


class TestAlignedMtl(WeightingSuite):
    weighting = AlignedMtl


@needs("cvxpy", "clarabel")
class TestCagrad(WeightingSuite):
    weighting = Cagrad


@needs("qpsolvers", "quadprog")
class TestDualproj(WeightingSuite):
    weighting = Dualproj


@needs("scipy")
class TestFairgrad(WeightingSuite):
    weighting = Fairgrad


class TestGradvac(WeightingSuite):
    weighting = Gradvac


class TestImtlG(WeightingSuite):
    weighting = ImtlG


class TestKrum(WeightingSuite):
    weighting = Krum
    names = ("a", "b", "c", "d")

    def test_one_loss_is_enough(self) -> None:
        pytest.skip("Krum needs three losses, and says so when it is bound")


class TestMgda(WeightingSuite):
    weighting = Mgda


@needs("cvxpy", "ecos")
class TestNashMtl(WeightingSuite):
    weighting = NashMtl


class TestPcd(WeightingSuite):
    weighting = Pcd


class TestPcgrad(WeightingSuite):
    weighting = Pcgrad


@needs("qpsolvers", "quadprog")
class TestUpgrad(WeightingSuite):
    weighting = Upgrad

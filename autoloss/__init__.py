"""Learns the weights between several losses."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoloss._moved import install

if TYPE_CHECKING:
    from autoloss import search as search
    from autoloss.core.errors import AutolossError as AutolossError
    from autoloss.core.errors import ConfigError as ConfigError
    from autoloss.core.errors import require as require
    from autoloss.core.gan.gan_problem import GanProblem as GanProblem
    from autoloss.core.loss import Loss as Loss
    from autoloss.core.need import Need as Need
    from autoloss.core.need import SampleNeed as SampleNeed
    from autoloss.core.penalty import Penalty as Penalty
    from autoloss.core.problem import Outputs as Outputs
    from autoloss.core.problem import Problem as Problem
    from autoloss.core.problem import Term as Term
    from autoloss.core.sample_weighting import SampleWeighting as SampleWeighting
    from autoloss.core.samples import Samples as Samples
    from autoloss.core.signals import Signals as Signals
    from autoloss.core.space import Choice as Choice
    from autoloss.core.space import Interval as Interval
    from autoloss.core.space import Range as Range
    from autoloss.core.surgery import Surgery as Surgery
    from autoloss.core.table import Entry as Entry
    from autoloss.core.table import LossTable as LossTable
    from autoloss.core.weighting import Scalarization as Scalarization
    from autoloss.core.weighting import Weighting as Weighting
    from autoloss.core.weighting import Wrapper as Wrapper
    from autoloss.training.balancer import Balancer as Balancer
    from autoloss.training.lightning.module_builder import Ingredients as Ingredients
    from autoloss.training.lightning.module_builder import ModuleBuilder as ModuleBuilder
    from autoloss.training.lightning.multitask import MultiTaskModule as MultiTaskModule
    from autoloss.training.lightning.run_module import RunModule as RunModule

__version__ = "0.1.0"

install()

# Loaded when first used: help and tab completion must not wait for torch.
_PLACES = {
    "require": "core.errors",
    "RunModule": "training.lightning.run_module",
    "MultiTaskModule": "training.lightning.multitask",
    "ModuleBuilder": "training.lightning.module_builder",
    "Ingredients": "training.lightning.module_builder",
    "GanProblem": "core.gan.gan_problem",
    "AutolossError": "core.errors",
    "Choice": "core.space",
    "ConfigError": "core.errors",
    "Interval": "core.space",
    "Range": "core.space",
    "Balancer": "training.balancer",
    "Entry": "core.table",
    "Loss": "core.loss",
    "LossTable": "core.table",
    "Need": "core.need",
    "Outputs": "core.problem",
    "Penalty": "core.penalty",
    "Problem": "core.problem",
    "SampleNeed": "core.need",
    "SampleWeighting": "core.sample_weighting",
    "Samples": "core.samples",
    "Scalarization": "core.weighting",
    "Signals": "core.signals",
    "Surgery": "core.surgery",
    "Term": "core.problem",
    "Weighting": "core.weighting",
    "Wrapper": "core.weighting",
}

__all__ = ["__version__", "search", *_PLACES]


def __getattr__(name: str) -> Any:
    if name == "search":
        return import_module("autoloss.search")
    if name not in _PLACES:
        raise AttributeError(f"module 'autoloss' has no attribute {name!r}")
    return getattr(import_module(f"autoloss.{_PLACES[name]}"), name)

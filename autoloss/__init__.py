"""Learns the weights between several losses.

Everything that a person's own code, a plugin or an example needs has its name here, in :mod:`autoloss.testing` or in
:mod:`autoloss.report`. Modules below are not public: they may move from one version to the next.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoloss._moved import install

if TYPE_CHECKING:
    from autoloss import search as search
    from autoloss.app.main import main as main
    from autoloss.core.errors import AutolossError as AutolossError
    from autoloss.core.errors import ConfigError as ConfigError
    from autoloss.core.errors import PluginError as PluginError
    from autoloss.core.errors import require as require
    from autoloss.core.errors import unknown as unknown
    from autoloss.core.gan.adversarial_loss import AdversarialLoss as AdversarialLoss
    from autoloss.core.gan.adversarial_loss import InputPenalty as InputPenalty
    from autoloss.core.gan.gan_problem import GanProblem as GanProblem
    from autoloss.core.gan.gan_problem import Generated as Generated
    from autoloss.core.loss import Loss as Loss
    from autoloss.core.loss import per_sample as per_sample
    from autoloss.core.need import Need as Need
    from autoloss.core.need import SampleNeed as SampleNeed
    from autoloss.core.penalty import Penalty as Penalty
    from autoloss.core.penalty import at_least_float32 as at_least_float32
    from autoloss.core.problem import Inputs as Inputs
    from autoloss.core.problem import Layers as Layers
    from autoloss.core.problem import Outputs as Outputs
    from autoloss.core.problem import Pictures as Pictures
    from autoloss.core.problem import Problem as Problem
    from autoloss.core.problem import Term as Term
    from autoloss.core.problem import Verdict as Verdict
    from autoloss.core.sample_weighting import SampleWeighting as SampleWeighting
    from autoloss.core.samples import Samples as Samples
    from autoloss.core.signals import Signals as Signals
    from autoloss.core.space import Choice as Choice
    from autoloss.core.space import Interval as Interval
    from autoloss.core.space import Range as Range
    from autoloss.core.surgery import Surgery as Surgery
    from autoloss.core.table import Entry as Entry
    from autoloss.core.table import LossTable as LossTable
    from autoloss.core.tensors.draws import shared_generator as shared_generator
    from autoloss.core.weighting import Scalarization as Scalarization
    from autoloss.core.weighting import Weighting as Weighting
    from autoloss.core.weighting import Wrapper as Wrapper
    from autoloss.problems._frame import tabular as tabular
    from autoloss.search.library import UserTrial as UserTrial
    from autoloss.search.output import Outcome as Outcome
    from autoloss.training.balancer import Balancer as Balancer
    from autoloss.training.lightning.curriculum.module import CurriculumModule as CurriculumModule
    from autoloss.training.lightning.gan.module import GanModule as GanModule
    from autoloss.training.lightning.module_builder import Ingredients as Ingredients
    from autoloss.training.lightning.module_builder import ModuleBuilder as ModuleBuilder
    from autoloss.training.lightning.multitask import MultiTaskModule as MultiTaskModule
    from autoloss.training.lightning.run_module import RunModule as RunModule
    from autoloss.training.step.build import build as build

from autoloss._version import __version__

install()

# Loaded when first used: help and tab completion must not wait for torch.
_PLACES = {
    "AdversarialLoss": "core.gan.adversarial_loss",
    "AutolossError": "core.errors",
    "Balancer": "training.balancer",
    "Choice": "core.space",
    "ConfigError": "core.errors",
    "CurriculumModule": "training.lightning.curriculum.module",
    "Entry": "core.table",
    "GanModule": "training.lightning.gan.module",
    "GanProblem": "core.gan.gan_problem",
    "Generated": "core.gan.gan_problem",
    "Ingredients": "training.lightning.module_builder",
    "InputPenalty": "core.gan.adversarial_loss",
    "Inputs": "core.problem",
    "Interval": "core.space",
    "Layers": "core.problem",
    "Loss": "core.loss",
    "LossTable": "core.table",
    "ModuleBuilder": "training.lightning.module_builder",
    "MultiTaskModule": "training.lightning.multitask",
    "Need": "core.need",
    "Outcome": "search.output",
    "Outputs": "core.problem",
    "Pictures": "core.problem",
    "Penalty": "core.penalty",
    "PluginError": "core.errors",
    "Problem": "core.problem",
    "Range": "core.space",
    "RunModule": "training.lightning.run_module",
    "SampleNeed": "core.need",
    "SampleWeighting": "core.sample_weighting",
    "Samples": "core.samples",
    "Scalarization": "core.weighting",
    "Signals": "core.signals",
    "Surgery": "core.surgery",
    "Term": "core.problem",
    "UserTrial": "search.library",
    "Verdict": "core.problem",
    "Weighting": "core.weighting",
    "Wrapper": "core.weighting",
    "at_least_float32": "core.penalty",
    "build": "training.step.build",
    "main": "app.main",
    "per_sample": "core.loss",
    "require": "core.errors",
    "shared_generator": "core.tensors.draws",
    "tabular": "problems._frame",
    "unknown": "core.errors",
}

__all__ = ["__version__", "search", *_PLACES]


def __getattr__(name: str) -> Any:
    if name == "search":
        return import_module("autoloss.search")
    if name not in _PLACES:
        raise AttributeError(f"module 'autoloss' has no attribute {name!r}")
    return getattr(import_module(f"autoloss.{_PLACES[name]}"), name)

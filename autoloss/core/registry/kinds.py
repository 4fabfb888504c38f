"""The kinds of components, and where the components of each kind are found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of component: the folder of its built-ins, its entry-point group, its base class."""

    name: str
    folder: str
    group: str
    base: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("loss", "losses", "autoloss.losses", "autoloss.core.loss:Loss"),
        Kind("penalty", "losses/penalties", "autoloss.penalties", "autoloss.core.penalty:Penalty"),
        Kind("weighting", "weightings", "autoloss.weightings", "autoloss.core.weighting:Weighting"),
        Kind("wrapper", "weightings/wrappers", "autoloss.wrappers", "autoloss.core.weighting:Wrapper"),
        Kind(
            "sample_weighting",
            "sample_weightings",
            "autoloss.sample_weightings",
            "autoloss.core.sample_weighting:SampleWeighting",
        ),
        Kind(
            "module",
            "training/lightning/modules",
            "autoloss.modules",
            "autoloss.training.lightning.module_builder:ModuleBuilder",
        ),
        Kind("problem", "problems", "autoloss.problems", "autoloss.core.problem:Problem"),
    )
}

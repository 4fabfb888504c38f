"""``module=curriculum``: trains one network on easy samples first."""

from __future__ import annotations

from autoloss.training.lightning.curriculum.difficulty import Difficulty
from autoloss.training.lightning.curriculum.module import CurriculumModule, check_curriculum
from autoloss.training.lightning.module_builder import Ingredients
from autoloss.training.lightning.modules.multitask import Multitask
from autoloss.training.lightning.run_module import RunModule


class Curriculum(Multitask):
    """Trains on the easiest share of the data first, and adds harder samples as training proceeds.

    Without ``pacing`` nothing differs from ``multitask``.

    Args:
        pacing: the share of the data in use, easiest first, by progress: ``root(0.2,0.5)``; ``None`` uses all data.
        difficulty: how hard a sample is: a key of the data, ``module:function``, or ``loss``: its loss, measured once.
        warmup: epochs on all data before losses are measured, at least 0; for ``difficulty=loss`` only.
    """

    use = "Data that differ in difficulty: long and short, clean and noisy, common and rare."
    avoid = "Few data, or samples that are all equally difficult: then the order changes nothing."
    citation = "Bengio et al., Curriculum learning, ICML 2009; Hacohen and Weinshall, ICML 2019"

    def __init__(
        self, pacing: str | float | None = None, difficulty: Difficulty | None = None, warmup: int = 1
    ) -> None:
        check_curriculum(pacing, difficulty, warmup)
        self.pacing, self.difficulty, self.warmup = pacing, difficulty, warmup

    def build(self, run: Ingredients) -> RunModule:
        return CurriculumModule.of(run, pacing=self.pacing, difficulty=self.difficulty, warmup=self.warmup)

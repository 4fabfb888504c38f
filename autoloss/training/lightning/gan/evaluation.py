"""Evaluates a generator with the same random numbers each time, apart from those of training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.problem import Pictures
from autoloss.probe.lookahead import Moment
from autoloss.training.lightning.run_module import RunModule

SEED = 20_140_610


class EvaluatesGenerator(RunModule):
    """A Lightning module with a :class:`GanProblem`: validates, tests and shows the generator."""

    problem: GanProblem
    _paused: Moment | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The generator that is evaluated."""
        raise NotImplementedError

    def on_validation_epoch_start(self) -> None:
        """Save the random state of training, and start the evaluation from a fixed seed."""
        super().on_validation_epoch_start()
        self._pause()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Measure the problem's metrics of this batch."""
        self._measure("val", batch)

    def on_validation_epoch_end(self) -> None:
        """Measure the problem's metrics of the whole split."""
        super().on_validation_epoch_end()
        self._evaluate("val")

    def on_test_epoch_start(self) -> None:
        """As for validation."""
        super().on_test_epoch_start()
        self._pause()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """As for validation."""
        self._measure("test", batch)

    def on_test_epoch_end(self) -> None:
        """As for validation."""
        super().on_test_epoch_end()
        self._evaluate("test")

    def gallery(self) -> Pictures | None:
        """Samples for a picture, from the same noise each time."""
        self._pause()
        try:
            with torch.no_grad():
                images = self.problem.gallery(self.evaluated)
        finally:
            self._resume()
        return None if images is None else Pictures(images)

    def _measure(self, split: str, batch: Any) -> None:
        outputs = self.problem.outputs(self.evaluated, batch)
        self.add_values(split, self.problem.measure(outputs))
        self.add_tally(self.problem.tally(outputs))

    def _evaluate(self, split: str) -> None:
        loaders = self.trainer.val_dataloaders if split == "val" else self.trainer.test_dataloaders
        real = (loaders[0] if isinstance(loaders, list) else loaders).dataset
        for name, value in self.problem.evaluate(self.evaluated, real).items():
            self.log(f"{split}/{name}", float(value), sync_dist=True)
        self._resume()

    def _pause(self) -> None:
        self._paused = Moment.now(self.device)
        torch.manual_seed(SEED)

    def _resume(self) -> None:
        if self._paused is not None:
            self._paused.restore()
            self._paused = None

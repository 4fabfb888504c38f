"""Counts the plateaus of a validation metric, for schedules that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import unknown
from autoloss.core.schedules.plateaus import Plateaus


class FollowsPlateaus:
    """A Lightning module that counts the plateaus of one metric of its problem, by default of the first.

    ``clock.plateaus`` is their number. Checkpoints hold it.
    """

    trainer: Any
    plateaus: Plateaus
    _metric: str | None = None

    def follow_plateaus(
        self, metrics: Mapping[str, str], metric: str | None = None, patience: int = 3, change: float = 0.0
    ) -> None:
        """Choose the metric; ``patience`` and ``change`` are those of :class:`Plateaus`."""
        if metric is not None and metric not in metrics:
            raise unknown("metric", metric, metrics)
        self.plateaus = Plateaus(patience, change)
        self._metric = metric or next(iter(metrics), None)
        self._goal = metrics.get(self._metric or "", "min")

    def on_validation_end(self) -> None:
        """Give the count this validation's metric."""
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.see_metrics({k.removeprefix("val/"): v for k, v in self.trainer.callback_metrics.items()})

    def see_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Give the count the metrics of a validation."""
        if self._metric is not None and self._metric in metrics:
            self.plateaus.see(float(metrics[self._metric]), self._goal)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the count to the checkpoint."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint["autoloss_plateaus"] = self.plateaus.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the count from the checkpoint."""
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        if "autoloss_plateaus" in checkpoint:
            self.plateaus.load(checkpoint["autoloss_plateaus"])

"""For Lightning modules: counts the plateaus of a validation metric, which schedules can follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import unknown
from autoloss.core.schedules.plateaus import Plateaus


class FollowsPlateaus:
    """A Lightning module with a ``problem`` that counts plateaus of one of its metrics, the first if none is named.

    ``clock.plateaus`` is their number; it is in checkpoints.
    """

    trainer: Any
    plateaus: Plateaus
    _metric: str | None = None

    def follow_plateaus(
        self, metrics: Mapping[str, str], metric: str | None = None, patience: int = 3, change: float = 0.0
    ) -> None:
        """Say what is counted: see :class:`Plateaus`."""
        if metric is not None and metric not in metrics:
            raise unknown("metric", metric, metrics)
        self.plateaus = Plateaus(patience, change)
        self._metric = metric or next(iter(metrics), None)
        self._goal = metrics.get(self._metric or "", "min")

    def on_validation_end(self) -> None:
        """See the metric of this validation."""
        found = self.trainer.callback_metrics.get(f"val/{self._metric}")
        if found is not None and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.plateaus.see(float(found), self._goal)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the count."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint["autoloss_plateaus"] = self.plateaus.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        if "autoloss_plateaus" in checkpoint:
            self.plateaus.load(checkpoint["autoloss_plateaus"])

"""The launcher's configuration, and the class that Hydra calls.

As ``sweeper.py``, this module imports nothing slow at its top, and no annotation is a string.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class AutolossFleetLauncherConf:
    """``hydra/launcher=autoloss_fleet``: every key is set as ``hydra.launcher.KEY=...``."""

    _target_: str = "hydra_plugins.hydra_autoloss.launcher.AutolossFleetLauncher"
    # Runs that are trained at once, as one: a number, or auto (16); 1: one after the other.
    fleet: Any = "auto"


ConfigStore.instance().store(
    group="hydra/launcher", name="autoloss_fleet", node=AutolossFleetLauncherConf, provider="autoloss"
)


class AutolossFleetLauncher(Launcher):
    """Trains the jobs of a sweep of ``autoloss train`` that differ in numbers only as one, in this process."""

    def __init__(self, fleet: Any) -> None:
        self.fleet = fleet
        self.most = 1
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from autoloss.app.fleet_runs import fleet_size
        from autoloss.app.train import job
        from autoloss.core.errors import require

        name = getattr(task_function, "__name__", repr(task_function))
        ours = "hydra/launcher=autoloss_fleet trains the runs of `autoloss train`"
        require(task_function is job, ours, f"the task is {name!r}", "Choose another launcher.")
        self.most = fleet_size(self.fleet, "hydra.launcher.fleet")
        self.hydra_context, self.config, self.task_function = hydra_context, config, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from hydra_plugins.hydra_autoloss._fleet import launch

        return launch(self, job_overrides, initial_job_idx)

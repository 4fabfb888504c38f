"""The sweeper's configuration, and the class that Hydra calls.

Hydra imports this module at each start of each application, so it imports nothing slow at its top. Hydra does not put
it into ``sys.modules``, where a dataclass would look up annotations that are strings: so no annotation is a string.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class AutolossSweeperConf:
    """``hydra/sweeper=autoloss``: every key is set as ``hydra.sweeper.KEY=...``."""

    _target_: str = "hydra_plugins.hydra_autoloss.sweeper.AutolossSweeper"
    # The total number of runs, with those of earlier starts.
    n_trials: int = 20
    # The number of runs that the launcher gets together.
    n_jobs: int = 1
    # tpe, gp, cmaes, random, grid, qmc, nsga2, or {name: tpe, n_startup_trials: 5}.
    sampler: Any = "tpe"
    # The objective: score, or a metric of the problem. Null: score if a run of the sweep can have equal weights, else
    # the first metric.
    metric: Any = None
    # The sampler's seed; null: the seed of the runs.
    seed: Any = None
    # Values on each continuous axis of sampler=grid.
    grid_points: int = 5
    # Further axes, for a configuration file: {optimizer.lr: "interval(1e-4,1e-2)"}.
    params: dict[str, str] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="autoloss", node=AutolossSweeperConf, provider="autoloss")


class AutolossSweeper(Sweeper):
    """Samples a sweep of ``autoloss train`` with Optuna, and launches it with any launcher."""

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        sampler: str | Mapping[str, Any],
        metric: str | None,
        seed: int | None,
        grid_points: int,
        params: Mapping[str, str],
    ) -> None:
        self.n_trials, self.n_jobs, self.metric, self.seed = n_trials, n_jobs, metric, seed
        named = {"name": sampler} if isinstance(sampler, str) else sampler
        self.sampler: dict[str, Any] = {str(key): value for key, value in named.items()}
        self.grid_points, self.params = grid_points, dict(params)
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from hydra_plugins.hydra_autoloss import _shell

        assert self.config is not None
        directory = Path(self.config.hydra.sweep.dir)
        directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, directory / "multirun.yaml")
        _shell.sweep(self, [*(f"{key}={value}" for key, value in self.params.items()), *arguments], directory)

"""Launches the jobs of a sweep: each is set up as by Hydra's own launcher, and trained in a fleet where it can be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    env_override,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from autoloss.app.fleet_jobs import train_jobs
from autoloss.app.fleet_request import Trained
from autoloss.app.screen import say
from autoloss.app.train import this_job
from autoloss.app.train_job import TrainJob

if TYPE_CHECKING:
    from hydra_plugins.hydra_autoloss.launcher import AutolossFleetLauncher

log = logging.getLogger(__name__)


def launch(
    launcher: AutolossFleetLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> list[JobReturn]:
    """What each job returned, in the order of the jobs."""
    setup_globals()
    assert launcher.config is not None
    hydra = launcher.config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose)
    Path(str(hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    log.info(f"Launching {len(job_overrides)} jobs locally")
    configs = []
    for number, overrides in enumerate(job_overrides, initial_job_idx):
        log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        configs.append(_configured(launcher, overrides, number))
    returned: dict[int, JobReturn] = {}

    def run(place: int, trained: Trained | None) -> None:
        assert launcher.task_function is not None
        task: Any = launcher.task_function  # that of `autoloss train`, which takes a result: setup() checks it
        returned[place] = _run(launcher, configs[place], partial(task, trained=trained))
        configure_log(hydra.hydra_logging, hydra.verbose)

    jobs = [_job(launcher, config) for config in configs] if launcher.most > 1 else [None] * len(configs)
    if hydra.job.chdir and launcher.most > 1:
        say("trained one by one: A fleet does not follow hydra.job.chdir.")
        jobs = [None] * len(configs)
    with env_override(hydra.job.env_set):
        train_jobs(jobs, run, launcher.most)
    return [returned[place] for place in range(len(configs))]


def _configured(launcher: AutolossFleetLauncher, overrides: Sequence[str], number: int) -> DictConfig:
    assert launcher.hydra_context is not None
    assert launcher.config is not None
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id = number
        config.hydra.job.num = number
    return config


def _job(launcher: AutolossFleetLauncher, config: DictConfig) -> TrainJob | None:
    """What the job of ``config`` trains; ``None`` if it cannot be told, which its own start then says."""
    assert launcher.hydra_context is not None
    # The user's callbacks are called when the job starts, and not here.
    quiet = HydraContext(launcher.hydra_context.config_loader, Callbacks())
    found = _run(launcher, config, this_job, quiet)
    return found.return_value if found.status == JobStatus.COMPLETED else None


def _run(
    launcher: AutolossFleetLauncher, config: DictConfig, task: TaskFunction, context: HydraContext | None = None
) -> JobReturn:
    """Call ``task`` as a job of ``config``, as Hydra's own launcher does."""
    whole = context or launcher.hydra_context
    assert whole is not None
    return run_job(
        hydra_context=whole,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        configure_logging=context is None,
    )

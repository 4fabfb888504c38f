"""Directories of a sweep's jobs: each job has its own, and its name holds what differs between the jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from autoloss.app.composition import hydra_value
from autoloss.app.hydra_app import override_value, quoted
from autoloss.app.overrides import parse, ungrouped
from autoloss.app.run_names import clash, in_order, job_name
from autoloss.core.errors import ConfigError
from autoloss.core.io.override_key import key_of

_SEPARATOR = "\x1f"  # of `hydra.job.config.override_dirname.item_sep` in conf/: no override contains it


def sweep_overrides(overrides: Sequence[str], root: Path, jobs: Sequence[Sequence[str]]) -> list[str]:
    """The overrides that tell Hydra where the ``jobs`` of the sweep over ``overrides`` go: under ``root``."""
    found = [] if override_value(overrides, "hydra.sweep.dir") else [f"hydra.sweep.dir={quoted(str(root))}"]
    if override_value(overrides, "hydra.sweep.subdir") is None:
        same = _constant(overrides)
        exact = clash([_different(job, same) for job in jobs])
        found.append(
            "hydra.sweep.subdir='${autoloss.job:${hydra:job.override_dirname},"
            f'"{"|".join(same)}",{str(exact).lower()}' + "}'"
        )
    return found


def job_places(
    overrides: Sequence[str], root: Path, jobs: Sequence[Sequence[str]], config_dirs: Sequence[str]
) -> list[Path]:
    """The directory of each of the ``jobs`` of the sweep over ``overrides``."""
    typed = [o for o in overrides if o.startswith(("hydra.", "hydra/")) and not o.startswith("hydra.searchpath")]
    if override_value(overrides, "hydra.sweep.subdir") is not None:
        numbered = enumerate(jobs)
        return [
            root / hydra_value("train", [*job, *typed], config_dirs, "hydra.sweep.subdir", number)
            for number, job in numbered
        ]
    same = _constant(overrides)
    different = [_different(job, same) for job in jobs]
    exact = clash(different)
    return [root / job_name(job, exact) for job in different]


def check_distinct(places: Sequence[Path], jobs: Sequence[Sequence[str]], configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise :class:`ConfigError` if two jobs with different configurations have one directory."""
    first: dict[Path, int] = {}
    for number, (place, config) in enumerate(zip(places, configs, strict=True)):
        other = first.setdefault(place, number)
        if configs[other] != config:
            one, two = (" ".join(jobs[i]) or f"number {i}" for i in (other, number))
            raise ConfigError(
                f"Each job of a sweep must have a directory of its own, but {str(place)!r} is that of two: {one!r} "
                f"and {two!r}. Write into hydra.sweep.subdir= what differs between them, or leave it out."
            )


def _constant(overrides: Sequence[str]) -> list[str]:
    """The keys that all jobs share: a job's name does not hold them."""
    return [str(o.package or o.key_or_group) for o in parse(overrides) if not o.is_sweep_override()]


def _different(job: Sequence[str], same: Sequence[str]) -> list[str]:
    ungrouped_job = [ungrouped(one) for one in sorted(job)]  # Hydra sorts them too
    return in_order([one for one in ungrouped_job if key_of(one) not in same])


def _resolve(override_dirname: str, constant: str = "", exact: bool = False) -> str:
    return job_name(_different(override_dirname.split(_SEPARATOR), constant.split("|")), exact)


OmegaConf.register_new_resolver("autoloss.job", _resolve, replace=True)

"""``autoloss train``: one run, or a sweep of runs."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from autoloss.app.composition import composed, jobs, shared_overrides
from autoloss.app.current_config import current
from autoloss.app.directories import CHECKPOINT, OUTPUTS, finished, newest, numbered
from autoloss.app.hydra_app import (
    FAILED,
    USER_ERROR,
    answer_question,
    config_dirs,
    hydra_main,
    override_value,
    quoted,
    record_failure,
    split,
)
from autoloss.app.overrides import directory_name, parse, run_name, ungrouped
from autoloss.app.run_lock import run_lock
from autoloss.app.screen import print_run, print_sweep, report, say, shown
from autoloss.core.errors import AutolossError, BusyError
from autoloss.core.io.files import read_json, write_json
from autoloss.search.stop import Stopped

if TYPE_CHECKING:
    from autoloss.app.prepare import PreparedRun


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if a run failed, 2 for a user's mistake."""
    flags, overrides = split(arguments)
    if (code := answer_question("train", flags, overrides, job)) is not None:
        return code
    swept = bool({"-m", "--multirun"} & set(flags)) or "hydra.mode=MULTIRUN" in overrides
    if override_value(overrides, "hydra/sweeper") == "autoloss" and not swept:
        flags, swept = ["-m", *flags], True
    config = _checked(flags, overrides, swept)
    name = directory_name(config, overrides, () if swept else ("trainer.max_epochs",))
    parent = OUTPUTS / "train" / name
    if swept:
        root = _sweep_root(overrides, parent)
        try:
            code = hydra_main("train", job, [*flags, *overrides, *_sweep_directories(overrides, parent)])
        except (Stopped, KeyboardInterrupt):
            print_sweep(root)
            raise
        if code == USER_ERROR:
            return code
        write_json(root / "command.json", {"command": ["autoloss", "train", *arguments]})
        return max(code, print_sweep(root))
    directory = []
    if not override_value(overrides, "hydra.run.dir"):
        directory = [f"hydra.run.dir={quoted(str(newest(parent) if config['ckpt'] == 'last' else numbered(parent)))}"]
    _exit_codes.clear()
    hydra_main("train", job, [*flags, *overrides, *directory])
    return _exit_codes[-1] if _exit_codes else FAILED


_exit_codes: list[int] = []
_prepared: list[PreparedRun] = []  # what a single run needs: built to check its configuration, then used to train
_jobs = 0  # how many jobs this sweep has; 0 if this process does not know


def job(config: DictConfig) -> float | None:
    """Train one run for Hydra, or skip it if it is finished. A run that fails is recorded and raises nothing."""
    context = HydraConfig.get()
    directory = Path(context.runtime.output_dir)
    swept = context.mode == RunMode.MULTIRUN
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    overrides = [str(o) for o in context.overrides.task]
    number = int(context.job.num) if swept else None
    count = f"[{(number or 0) + 1}/{_jobs}] " if _jobs else ""
    title = plain["weighting"]["name"] if number is None else f"{count}{directory.name}"
    try:
        with run_lock(directory, title, waits=swept):
            summary = _train(plain, directory, overrides, swept, title)
    except BusyError as error:
        say(f"autoloss: {error}", error=True)
        _exit_codes.append(USER_ERROR)
        return None
    except Stopped:
        say(f"{title}: interrupted, see {shown(directory)}")
        raise
    except AutolossError as error:
        _exit_codes.append(record_failure(directory, error))
        report(directory)
        return None
    except Exception as error:
        if not swept or os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exc()
        _exit_codes.append(record_failure(directory, error))
        report(directory)
        return None
    _exit_codes.append(0)
    if not swept:
        print_run(directory, summary)
    values = list(summary["metrics"].values())
    return float(values[0]) if len(values) == 1 else None


def _train(
    config: dict[str, Any], directory: Path, overrides: Sequence[str], swept: bool, title: str
) -> dict[str, Any]:
    from autoloss.app.train_one import train

    if swept and not config["fresh"] and (before := finished(directory, config)):
        say(f"{title}: finished before, skipped (fresh=true runs it again)")
        return before
    checkpoint = _checkpoint(config, directory, swept)
    stale = ["summary.json", "failed.json"]
    if checkpoint is not None:
        say(f"{title}: goes on from {checkpoint}")
    else:
        # The checkpoint of another configuration: if this run were killed before its first checkpoint, the next
        # start would go on from this one.
        stale.append(str(CHECKPOINT))
    for name in stale:
        (directory / name).unlink(missing_ok=True)
    write_json(directory / "config.json", config)
    prepared = _prepared.pop() if _prepared and _prepared[-1].config == config else None
    summary = train(config, directory, overrides, checkpoint, title=title, prepared=prepared)
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in summary["metrics"].items())
    say(f"{title}: {metrics}  ({summary['seconds']:.1f} s)")
    return summary


def _checkpoint(config: dict[str, Any], directory: Path, swept: bool) -> Path | None:
    last = directory / CHECKPOINT
    if config["ckpt"] not in (None, "last"):
        return Path(config["ckpt"])
    resumes = config["ckpt"] == "last"
    if swept and not resumes and not config["fresh"]:
        # A sweep goes on by itself with a run of the same configuration.
        before = read_json(directory / "config.json")
        resumes = before is not None and current(before) == current(config)
    return last if resumes and last.exists() else None


def _checked(flags: Sequence[str], overrides: Sequence[str], swept: bool) -> dict[str, Any]:
    """The first job's configuration, after the configuration of every job was checked.

    A check composes the configuration and builds its components. A sweeper other than Hydra's own chooses its jobs
    later: then only the overrides that all its jobs share are checked.
    """
    from autoloss.app.prepare import prepare

    task_overrides = [
        o for o in overrides if o.startswith("hydra.searchpath") or not o.startswith(("hydra.", "hydra/"))
    ]
    other_sweeper = override_value(overrides, "hydra/sweeper") not in (None, "basic")
    if swept and not other_sweeper:
        to_check = jobs(task_overrides)
    else:
        to_check = [shared_overrides(task_overrides) if swept else task_overrides]
    global _jobs
    _jobs = 0 if other_sweeper else len(to_check)
    configs = []
    for job_overrides in to_check:
        config = composed("train", job_overrides, config_dirs(flags))
        prepared = prepare(config)
        configs.append(config)
    # A sweep builds each job again when it runs: it must not keep the data of all its jobs in memory.
    _prepared[:] = [] if swept else [prepared]
    return configs[0]


def _sweep_root(overrides: Sequence[str], parent: Path) -> Path:
    return Path(override_value(overrides, "hydra.sweep.dir") or parent)


def _sweep_directories(overrides: Sequence[str], parent: Path) -> list[str]:
    directory = [] if override_value(overrides, "hydra.sweep.dir") else [f"hydra.sweep.dir={quoted(str(parent))}"]
    if override_value(overrides, "hydra.sweep.subdir") is None:
        # The name of a run's directory holds only the keys that vary.
        constant = [o.package or o.key_or_group for o in parse(overrides) if not o.is_sweep_override()]
        same = "|".join(constant)
        directory.append(f"hydra.sweep.subdir='${{autoloss.job:${{hydra:job.override_dirname}},\"{same}\"}}'")
    return directory


def _job_directory(override_dirname: str, constant: str = "") -> str:
    order, same = {"weighting": 0, "seed": 2}, constant.split("|")
    parts = [ungrouped(part) for part in override_dirname.split("\x1f")]
    parts = [part for part in parts if part.lstrip("+~").partition("=")[0] not in same]
    parts.sort(key=lambda part: order.get(part.partition("=")[0], 1))
    return run_name("", parts).strip("-") or "run"


OmegaConf.register_new_resolver("autoloss.job", _job_directory, replace=True)

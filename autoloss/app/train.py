"""``autoloss train``: one run, or a sweep of runs."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from autoloss.app.composition import composed, hydra_value, jobs, shared_overrides
from autoloss.app.directories import (
    CHECKPOINT,
    OUTPUTS,
    TRAJECTORY,
    check_run,
    has_rows,
    missing,
    newest,
    numbered,
    remove_new,
    typed_directory,
)
from autoloss.app.diverged import diverged_sentence
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
from autoloss.app.run_lock import run_lock
from autoloss.app.run_names import directory_name
from autoloss.app.screen import print_run, print_sweep, report, say, shown
from autoloss.app.sweep_places import check_distinct, job_places, sweep_overrides
from autoloss.app.train_job import TrainJob
from autoloss.core.errors import (
    AutolossError,
    BusyError,
    ConfigError,
    DiskError,
    OccupiedError,
    SignalError,
    UnknownNameError,
    require,
)
from autoloss.core.io.disk import explained
from autoloss.core.io.files import write_json
from autoloss.core.io.occupied import COMMAND, SWEEP, check_free
from autoloss.core.io.text_table import listed
from autoloss.search.stop import Stopped

if TYPE_CHECKING:
    from autoloss.app.fleet_request import Trained
    from autoloss.app.prepare import PreparedRun


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if a run failed, 2 for a user's mistake."""
    flags, overrides = split(arguments)
    if (code := answer_question("train", flags, overrides, job)) is not None:
        return code
    swept = bool({"-m", "--multirun"} & set(flags)) or "hydra.mode=MULTIRUN" in overrides
    if override_value(overrides, "hydra/sweeper") == "autoloss" and not swept:
        flags, swept = ["-m", *flags], True
    if asked := [one for one in overrides if one.startswith("hydra/")]:
        hydra_value("train", asked, config_dirs(flags), "hydra.job.name")  # a misspelt one would be Hydra's to explain
    jobs_to_run, configs = _checked(flags, overrides, swept)
    name = directory_name(configs, overrides, () if swept else ("trainer.max_epochs",))
    parent = OUTPUTS / "train" / name
    run_dir, root = (typed_directory(overrides, f"hydra.{key}.dir", configs[0]) for key in ("run", "sweep"))
    if swept:
        require(run_dir is None, "A sweep's directory is hydra.sweep.dir", "hydra.run.dir was given")
        return _sweep(flags, overrides, root or parent, jobs_to_run, configs, arguments)
    require(root is None, "hydra.sweep.dir is the directory of a sweep", "this is one run", "Write hydra.run.dir=.")
    made: list[Path] = []
    directory: list[str] = []
    if run_dir is not None:
        check_run(run_dir, configs[0])
        made, place = missing(run_dir), run_dir
        run_dir.mkdir(parents=True, exist_ok=True)
    elif configs[0]["ckpt"] == "last":
        place = newest(parent)
        check_run(place, configs[0])
        directory = [f"hydra.run.dir={quoted(str(place))}"]
    else:
        above = missing(parent)
        made = [place := numbered(parent), *above]
        directory = [f"hydra.run.dir={quoted(str(place))}"]
    _exit_codes.clear()
    _mistaken.clear()
    _disk.clear()
    try:
        hydra_main("train", job, [*flags, *overrides, *directory])
    except Stopped as stopped:
        kept = (place / CHECKPOINT).exists()
        stopped.then = f"the same command {'with ckpt=last goes on from here' if kept else 'starts it anew'}"
        raise
    _raise_disk_error()
    code = _exit_codes[-1] if _exit_codes else FAILED
    if code == USER_ERROR and made and _refused_at_once(made[0] / TRAJECTORY):
        remove_new(made)
    return code


def _refused_at_once(trajectory: Path) -> bool:
    """Whether a run was refused before its first step; what training found there, such as NaN, is a result."""
    return not trajectory.exists() or (bool(_mistaken) and not has_rows(trajectory))


def _sweep(
    flags: Sequence[str],
    overrides: Sequence[str],
    root: Path,
    jobs_to_run: Sequence[Sequence[str]],
    configs: Sequence[dict[str, Any]],
    arguments: Sequence[str],
) -> int:
    check_free(root, SWEEP)
    if _jobs:
        places = job_places(overrides, root, jobs_to_run, config_dirs(flags))
        check_distinct(places, jobs_to_run, configs)
        for place, config in zip(places, configs, strict=True):
            check_run(place, config)
    _refused.clear()
    _disk.clear()
    made = missing(root)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / COMMAND, {"command": ["autoloss", "train", *arguments]})
    try:
        code = hydra_main("train", job, [*flags, *overrides, *sweep_overrides(overrides, root, jobs_to_run)])
    except (Stopped, KeyboardInterrupt):
        print_sweep(root)
        raise
    if code and _disk:
        return _disk.pop().exit_code  # a sweeper that looks at its jobs itself has told it
    _raise_disk_error()
    if code == USER_ERROR:
        # Refused by a sweeper that checks its jobs itself.
        if made and {path.name for path in root.iterdir()} <= {COMMAND, "multirun.yaml"}:
            remove_new(made)
        return code
    return max(code, FAILED if _refused else 0, print_sweep(root))


def _raise_disk_error() -> None:
    if _disk:
        raise _disk.pop()


_exit_codes: list[int] = []
_mistaken: list[AutolossError] = []  # mistakes in what was asked for that were found when training began
_disk: list[DiskError] = []  # what ended a job, and with it the command
_refused: list[Path] = []  # directories of jobs of this sweep that were not trained, since they hold something else
_prepared: list[PreparedRun] = []  # what a single run needs: built to check its configuration, then used to train
_jobs = 0  # how many jobs this sweep has; 0 if this process does not know


def this_job(config: DictConfig) -> TrainJob:
    """The run of this sweep, or the single one, that Hydra has set up in this process."""
    return TrainJob.read(config, _jobs)


def job(config: DictConfig, trained: Trained | None = None) -> float | None:
    """Train one run for Hydra, or skip it if it is finished. A run that fails is recorded and raises nothing.

    ``trained`` is its result if it was trained in a fleet.
    """
    run = this_job(config)
    directory, swept, title = run.directory, run.swept, run.title
    if _disk:
        return None  # the other jobs of the sweep would fail too
    try:
        with explained(directory), run_lock(directory, title, waits=swept):
            summary = _train(run, trained)
    except (BusyError, OccupiedError) as error:
        say(f"autoloss: {error}", error=True)
        _exit_codes.append(USER_ERROR)
        _refused.append(directory)
        return None
    except Stopped:
        say(f"{title}: interrupted, see {shown(directory)}")
        raise
    except DiskError as error:
        # It is raised when Hydra has ended, which would print it too.
        with suppress(OSError):
            write_json(directory / "failed.json", {"error": str(error)})
        _disk.append(error)
        return None
    except AutolossError as error:
        _exit_codes.append(record_failure(directory, error))
        _mistaken.extend([error] if isinstance(error, (ConfigError, UnknownNameError, SignalError)) else [])
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


def _train(run: TrainJob, trained: Trained | None) -> dict[str, Any]:
    if trained is None:
        if before := run.finished():
            say(f"{run.title}: finished before, skipped (fresh=true runs it again)")
            return before
        trained = _train_alone(run)
    if isinstance(trained, Exception):
        raise trained
    if trained and (diverged := diverged_sentence(run.directory)):
        say(f"autoloss: {run.title}: {diverged}", error=True)
    say(f"{listed(run.title, trained['metrics'])}  ({trained['seconds']:.1f} s)")
    return trained


def _train_alone(run: TrainJob) -> dict[str, Any]:
    from autoloss.app.train_one import train

    check_run(run.directory, run.config)
    checkpoint = run.checkpoint()
    if checkpoint is not None:
        say(f"{run.title}: goes on from {shown(checkpoint)}")
    run.begin(goes_on=checkpoint is not None)
    prepared = _prepared.pop() if _prepared and _prepared[-1].config == run.config else None
    return train(run.config, run.directory, run.overrides, checkpoint, title=run.title, prepared=prepared)


def _checked(
    flags: Sequence[str], overrides: Sequence[str], swept: bool
) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """The overrides of every job and their configurations, which were checked.

    A check composes the configuration and builds its components. A sweeper other than Hydra's own chooses its jobs
    later: then only the overrides that all its jobs share are checked.
    """
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
    here = override_value(overrides, "hydra/launcher") in (None, "basic", "autoloss_fleet")
    configs = [composed("train", job_overrides, config_dirs(flags)) for job_overrides in to_check]
    # torch and Lightning take seconds to import: a misspelt key was answered before.
    from autoloss.app.prepare import prepare

    for config in configs:
        prepared = prepare(config, here=here)
    # A sweep builds each job again when it runs: it must not keep the data of all its jobs in memory.
    _prepared[:] = [] if swept else [prepared]
    return to_check, configs

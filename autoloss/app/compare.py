"""``autoloss compare``: compares values of any configuration key on the same seeds, with a statistical test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoloss.app.comparison import Cell, measured, show
from autoloss.app.composition import composed, jobs, parsed
from autoloss.app.directories import OUTPUTS, check_run, finished, typed_directory
from autoloss.app.hydra_app import answer_question, config_dirs, override_value, record_failure, split
from autoloss.app.run_lock import run_lock
from autoloss.app.run_names import directory_name, job_names
from autoloss.app.screen import say
from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import write_json
from autoloss.core.io.occupied import COMMAND, COMPARE, check_free
from autoloss.core.io.text_table import listed

if TYPE_CHECKING:
    from autoloss.app.fleet_request import Request
    from autoloss.app.fleet_runs import FleetRuns

_HOW = ("compare.seeds", "compare.folds", "compare.baseline", "compare.fleet")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if a run failed, 2 for a user's mistake."""
    flags, overrides = split([a for a in arguments if a not in ("-m", "--multirun")])
    if (code := answer_question("compare", flags, overrides)) is not None:
        return code
    choices, base = _choices(overrides), config_dirs(flags)
    configs = {label: composed("compare", list(chosen), base) for label, chosen in choices.items()}
    first = next(iter(configs.values()))
    baseline = _baseline(configs, first["compare"]["baseline"])
    from autoloss.app.fleet_runs import FleetRuns, fleet_size  # it imports torch: a misspelt key was answered before

    fleet = fleet_size(first["compare"]["fleet"], "compare.fleet")
    _check(configs, overrides)
    directory = _directory(overrides, list(configs.values()))
    check_free(directory, COMPARE)
    repeats = _repeats(first)
    names = job_names([_varying(choices, label) for label in choices])
    runs = {
        (part, label): (directory / name / part, _whole(configs[label], settings))
        for part, settings in repeats.items()
        for label, name in zip(choices, names, strict=True)
    }
    for place, whole in runs.values():
        check_run(place, whole)
    write_json(directory / COMMAND, {"command": ["autoloss", "compare", *arguments]})
    if len(repeats) == 1:
        say("autoloss: one seed cannot show a difference, since seeds differ too. Set compare.seeds=5.", error=True)
    cells: dict[str, list[Cell]] = {label: [] for label in configs}
    places: dict[str, list[str]] = {label: [] for label in configs}
    failed: list[str] = []
    asked = [
        _Run(whole, repeats[part], place, list(choices[label]), f"{label}, {part}")
        for (part, label), (place, whole) in runs.items()
    ]
    together = FleetRuns(fleet)
    summaries: list[Cell | None] = []
    for some in [asked] if fleet > 1 else [[one] for one in asked]:
        summaries += _trained(some, together)
    for (part, label), run, summary in zip(runs, asked, summaries, strict=True):
        if summary is None:
            failed.append(f"{label}, {part}")
        else:
            cells[label].append(summary)
            places[label].append(run.place.relative_to(directory).as_posix())
    show(cells, places, baseline, directory, failed, first["compare"]["folds"])
    return 1 if failed else 0


def _directory(overrides: Sequence[str], configs: Sequence[Cell]) -> Path:
    run, sweep = (typed_directory(overrides, f"hydra.{key}.dir", configs[0]) for key in ("run", "sweep"))
    require(run is None or sweep in (None, run), "A comparison has one directory", f"two were given: {run} and {sweep}")
    return run or sweep or OUTPUTS / "compare" / directory_name(configs, overrides, _HOW)


def _whole(config: Cell, settings: Cell) -> Cell:
    return {key: value for key, value in config.items() if key not in ("compare", "hydra")} | settings["config"]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a comparison."""

    whole: Cell
    settings: Cell
    place: Path
    overrides: list[str]
    title: str

    def request(self) -> Request:
        """What is to be trained."""
        from autoloss.app.fleet_request import Request

        more = [] if self.settings["fold"] else [f"{key}={value}" for key, value in self.settings["config"].items()]
        own = [one for one in self.overrides if not one.lstrip("+~").startswith(("hydra.", "compare."))]
        command = ["autoloss", "train", *own, *more, f"test={self.whole['test']}"]
        return Request(self.whole, self.place, self.overrides, self.title, command, fold=self.settings["fold"])


def _trained(runs: Sequence[_Run], together: FleetRuns) -> list[Cell | None]:
    """The summary of each of ``runs``, which are trained at once; ``None`` for one that failed."""
    found: dict[int, Cell | None] = {}
    with ExitStack() as locks:
        for i, run in enumerate(runs):
            locks.enter_context(run_lock(run.place, run.title, waits=True))
            if not run.whole["fresh"] and (before := finished(run.place, run.whole)):
                say(f"{run.title}: finished before, skipped (fresh=true runs it again)")
                found[i] = before
                continue
            check_run(run.place, run.whole)
            for stale in ("summary.json", "failed.json"):
                (run.place / stale).unlink(missing_ok=True)
            write_json(run.place / "config.json", run.whole)
        left = [i for i in range(len(runs)) if i not in found]
        for at, summary in together.each([runs[i].request() for i in left]):
            i = left[at]
            if isinstance(summary, Exception):
                record_failure(runs[i].place, summary)
                found[i] = None
            else:
                say(listed(runs[i].title, measured(summary)))
                found[i] = summary
    return [found[i] for i in range(len(runs))]


def _choices(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The overrides of each choice, by its label, which holds the values of the keys that vary."""
    swept = [o.get_key_element().lstrip("+~") for o in parsed(overrides) if o.is_sweep_override()]
    require(bool(swept), "A comparison needs an axis", "nothing is swept", "Write weighting=equal,gradnorm.")
    if "seed" in swept:
        raise ConfigError("A comparison sets the seeds itself, but seed is swept. Set compare.seeds=5.")
    found: dict[str, list[str]] = {}
    for job in jobs(overrides):
        # Hydra writes a colon in a value with a backslash.
        pairs = (one.lstrip("+~").replace("\\", "").partition("=") for one in job)
        label = " ".join(v if k == "weighting" else f"{k.removeprefix('loss@')}={v}" for k, _, v in pairs if k in swept)
        same = found.setdefault(label, job) == job
        require(same, "Choices must have different names", f"{job} and {found[label]} are both called {label!r}")
    return found


def _varying(choices: Mapping[str, list[str]], label: str) -> list[str]:
    same = set.intersection(*(set(job) for job in choices.values()))
    return [one.lstrip("+~") for one in choices[label] if one not in same]


def _baseline(configs: Mapping[str, Cell], asked: str | None) -> str:
    if asked is not None:
        found = ", ".join(map(repr, configs))
        require(asked in configs, "compare.baseline must be one of the choices", f"{asked!r} is not among {found}")
        return asked
    return next((label for label, c in configs.items() if c["weighting"]["name"] == "equal"), next(iter(configs)))


def _check(configs: Mapping[str, Cell], overrides: Sequence[str]) -> None:
    """Raise now for what would fail after training has begun; without a test split validation data are compared."""
    from autoloss.app.prepare import prepare
    from autoloss.app.splits import check_test, has_test
    from autoloss.core.problem import Problem

    metrics: dict[str, dict[str, str]] = {}
    tested = True
    for label, config in configs.items():
        problem = prepare({**config, "test": False}).problem
        metrics[label] = dict(problem.metrics)
        seeds, folds = config["compare"]["seeds"], config["compare"]["folds"]
        require(folds >= 0, "compare.folds must be at least 0", f"it is {folds}")
        require(folds >= 2 or seeds >= 1, "compare.seeds must be at least 1", f"it is {seeds}")
        has = folds < 2 or type(problem).folds is not Problem.folds
        require(has, "Cross-validation needs a problem with folds()", f"{config['problem']['name']} has none")
        if config["test"] and folds < 2:
            if override_value(overrides, "test") is not None:
                check_test(config, problem)
            tested = tested and has_test(config, problem)
    first, *others = configs
    for label in others:
        found = f"{first!r} has {metrics[first]} and {label!r} has {metrics[label]}"
        same = metrics[first] == metrics[label]
        require(same, "All choices of a comparison must have the same metrics", found)
    for config in configs.values():
        config["test"] = config["test"] and tested


def _repeats(config: Cell) -> dict[str, Cell]:
    folds = config["compare"]["folds"]
    if folds > 1:
        return {f"fold_{i}": {"config": {"test": False}, "fold": (i, folds)} for i in range(folds)}
    seeds = range(config["seed"], config["seed"] + config["compare"]["seeds"])
    return {f"seed_{seed}": {"config": {"seed": seed}, "fold": None} for seed in seeds}

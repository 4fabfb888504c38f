"""``autoloss compare``: compares values of any configuration key on the same seeds, with a statistical test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoloss.app.comparison import Cell, measured, show
from autoloss.app.composition import composed, jobs
from autoloss.app.directories import OUTPUTS, finished
from autoloss.app.hydra_app import answer_question, config_dirs, override_value, record_failure, split
from autoloss.app.overrides import directory_name, parse, run_name
from autoloss.app.run_lock import run_lock
from autoloss.app.screen import say
from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import write_json

_HOW = ("compare.seeds", "compare.folds", "compare.baseline")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if a run failed, 2 for a user's mistake."""
    flags, overrides = split([a for a in arguments if a not in ("-m", "--multirun")])
    if (code := answer_question("compare", flags, overrides)) is not None:
        return code
    choices, base = _choices(overrides), config_dirs(flags)
    configs = {label: composed("compare", list(chosen), base) for label, chosen in choices.items()}
    first = next(iter(configs.values()))
    baseline = _baseline(configs, first["compare"]["baseline"])
    _check(configs)
    name = directory_name(first, overrides, _HOW)
    directory = Path(override_value(overrides, "hydra.run.dir") or OUTPUTS / "compare" / name)
    repeats = _repeats(first)
    cells: dict[str, list[Cell]] = {label: [] for label in configs}
    places: dict[str, list[str]] = {label: [] for label in configs}
    failed: list[str] = []
    for part, settings in repeats.items():
        for label, config in configs.items():
            place = directory / run_name("", [f"{k}={v}" for k, v in _varying(choices, label)]).strip("-") / part
            summary = _run(config, settings, place, list(choices[label]), f"{label}, {part}")
            if summary is None:
                failed.append(f"{label}, {part}")
            else:
                cells[label].append(summary)
                places[label].append(place.relative_to(directory).as_posix())
    write_json(directory / "command.json", {"command": ["autoloss", "compare", *arguments]})
    show(cells, places, baseline, directory, failed, first["compare"]["folds"])
    return 1 if failed else 0


def _run(config: Cell, settings: Cell, place: Path, overrides: list[str], title: str) -> Cell | None:
    from autoloss.app.train_one import train

    whole = {key: value for key, value in config.items() if key not in ("compare", "hydra")} | settings["config"]
    with run_lock(place, title, waits=True):
        if not config["fresh"] and (before := finished(place, whole)):
            say(f"{title}: finished before, skipped (fresh=true runs it again)")
            return before
        for stale in ("summary.json", "failed.json"):
            (place / stale).unlink(missing_ok=True)
        try:
            write_json(place / "config.json", whole)
            more = [] if settings["fold"] else [f"{key}={value}" for key, value in settings["config"].items()]
            command = ["autoloss", "train", *overrides, *more, f"test={whole['test']}"]
            summary = train(whole, place, overrides, title=title, fold=settings["fold"], command=command)
        except Exception as error:
            record_failure(place, error)
            return None
    say(f"{title}: " + "  ".join(f"{name} {value:.4g}" for name, value in measured(summary).items()))
    return summary


def _choices(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The overrides of each choice, by its label, which holds the values of the keys that vary."""
    swept = [o.get_key_element() for o in parse(overrides) if o.is_sweep_override()]
    require(bool(swept), "A comparison needs an axis", "nothing is swept", "Write weighting=equal,gradnorm.")
    if "seed" in swept:
        raise ConfigError("A comparison sets the seeds itself, but seed is swept. Set compare.seeds=5.")
    found = {}
    for job in jobs(overrides):
        # Hydra writes a colon in a value with a backslash.
        pairs = (one.lstrip("+~").replace("\\", "").partition("=") for one in job)
        label = " ".join(v if k == "weighting" else f"{k.removeprefix('loss@')}={v}" for k, _, v in pairs if k in swept)
        found[label] = job
    return found


def _varying(choices: Mapping[str, list[str]], label: str) -> list[tuple[str, str]]:
    same = set.intersection(*(set(job) for job in choices.values()))
    pairs = (one.lstrip("+~").partition("=") for one in choices[label] if one not in same)
    return [(key.removeprefix("loss@"), value) for key, _, value in pairs]


def _baseline(configs: Mapping[str, Cell], asked: str | None) -> str:
    if asked is not None:
        found = ", ".join(map(repr, configs))
        require(asked in configs, "compare.baseline must be one of the choices", f"{asked!r} is not among {found}")
        return asked
    return next((label for label, c in configs.items() if c["weighting"]["name"] == "equal"), next(iter(configs)))


def _check(configs: Mapping[str, Cell]) -> None:
    from autoloss.app.prepare import prepare
    from autoloss.core.problem import Problem

    for config in configs.values():
        problem = prepare(config).problem
        seeds, folds = config["compare"]["seeds"], config["compare"]["folds"]
        require(folds >= 2 or seeds >= 1, "compare.seeds must be at least 1", f"it is {seeds}")
        has = folds < 2 or type(problem).folds is not Problem.folds
        require(has, "Cross-validation needs a problem with folds()", f"{config['problem']['name']} has none")


def _repeats(config: Cell) -> dict[str, Cell]:
    folds = config["compare"]["folds"]
    if folds > 1:
        return {f"fold_{i}": {"config": {"test": False}, "fold": (i, folds)} for i in range(folds)}
    seeds = range(config["seed"], config["seed"] + config["compare"]["seeds"])
    return {f"seed_{seed}": {"config": {"seed": seed}, "fold": None} for seed in seeds}

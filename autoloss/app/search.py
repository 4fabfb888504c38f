"""``autoloss search``: finds the best weighting and weights, and confirms that they are better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from autoloss.app.composition import composed
from autoloss.app.current_config import current
from autoloss.app.data_card import show_card
from autoloss.app.directories import OUTPUTS, typed_directory
from autoloss.app.hydra_app import answer_question, config_dirs, hydra_main, quoted, split
from autoloss.app.run_lock import exclusive_lock, shared_lock
from autoloss.app.run_names import directory_name
from autoloss.app.screen import say, shown
from autoloss.app.search_study import (
    SEARCH_SETTINGS,
    check_candidates,
    check_study,
    delete_results,
    sampler_seed,
    study_config,
)
from autoloss.app.storage_url import move_to_environment
from autoloss.app.workers import Workers, helper_number
from autoloss.core.errors import AutolossError, ConfigError, require
from autoloss.core.io.disk import explained
from autoloss.core.io.files import write_json
from autoloss.core.io.occupied import SEARCH, check_free
from autoloss.core.io.override_key import key_of
from autoloss.core.passwords import without_passwords
from autoloss.search.stop import Stopped

if TYPE_CHECKING:
    from autoloss.core.problem import Problem

_exit_codes: list[int] = []
_dirs: list[str] = []
_typed: list[str] = []  # the arguments that the user typed
_arguments: list[str] = []  # those of further workers
_problem: list[Any] = []  # built to check the configuration, then used by the search


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if no trial finished, 2 for a user's mistake."""
    flags, overrides = split([_hydra_spelling(a) for a in arguments])
    shown_overrides = [without_passwords(o) for o in overrides]
    if (code := answer_question("search", flags, shown_overrides, job)) is not None:
        return code
    _dirs[:] = config_dirs(flags)
    # A further worker must not delete the results of the first one.
    _typed[:] = [a for a in arguments if not a.startswith("fresh=")]
    task_overrides = [o for o in overrides if not o.startswith("hydra.")]
    config = composed("search", task_overrides, _dirs)
    storage = config["search"]["storage"]
    overrides = move_to_environment(storage, overrides)
    _arguments[:] = move_to_environment(storage, _typed)
    _problem[:] = [_check(config)]
    unnamed = [f"search.{key}" for key in SEARCH_SETTINGS] + ["search/sampler", "search/pruner"]
    typed = typed_directory(overrides, "hydra.run.dir", config)
    directory = typed or OUTPUTS / "search" / directory_name([config], overrides, unnamed)
    check_free(directory, SEARCH)
    if not helper_number():
        check_study(config, directory)
    extra = [] if typed else [f"hydra.run.dir={quoted(str(directory))}"]
    hydra_main("search", job, [*flags, *overrides, *extra])
    return _exit_codes[-1] if _exit_codes else 1


def job(config: DictConfig) -> float | None:
    """Run one search for Hydra."""
    context = HydraConfig.get()
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    settings = [str(o) for o in context.overrides.task if not _is_search_key(str(o))]
    directory = Path(context.runtime.output_dir)
    try:
        with explained(directory):
            if plain["fresh"] and not helper_number():
                with exclusive_lock(directory):
                    delete_results(directory)
            with shared_lock(directory):
                _exit_codes.append(_search(plain, settings, directory))
    except AutolossError as error:
        say(f"autoloss: {error}", error=True)
        _exit_codes.append(error.exit_code)
    return None


def _search(config: dict[str, Any], settings: list[str], directory: Path) -> int:
    from autoloss.app.config_runner import ConfigRunner
    from autoloss.app.fleet_runs import FleetRuns, fleet_size
    from autoloss.app.search_bar import search_bar
    from autoloss.app.search_end import show
    from autoloss.app.search_space import build_space
    from autoloss.app.splits import has_test
    from autoloss.search.batch import size_of_batch
    from autoloss.search.budget import counted, none_but_baseline, release
    from autoloss.search.confirm import chosen, confirm
    from autoloss.search.dashboard import study_name
    from autoloss.search.engine import Search, Settings
    from autoloss.search.guard import guard_of
    from autoloss.search.output import Outcome
    from autoloss.search.samplers import build_pruner, build_sampler, sentences
    from autoloss.search.study import open_storage, open_study

    search = config["search"]
    problem = _problem[-1]
    space = build_space(config, problem)
    objectives, guard = tuple(search["objectives"]), guard_of(search["guard"])
    helper = helper_number() > 0
    storage = open_storage(search["storage"], directory)
    name = study_name(storage, directory, shared=search["storage"] is not None)
    pruner = build_pruner(search["pruner"], len(objectives), search["folds"])
    directions = ["maximize" if o == "score" or problem.metrics.get(o) == "max" else "minimize" for o in objectives]
    study = open_study(storage, name, study_config(config), directions, pruner, current, objectives)
    begun = len(counted(study))
    seed = sampler_seed(config, len(study.trials))
    at_once = size_of_batch(search["fleet"], search["sampler"], search["n_trials"], search["workers"])
    study.sampler = build_sampler(search["sampler"], seed, len(objectives), space.branches, search["n_trials"], at_once)
    if not helper:
        few = space.left_out(search["n_trials"])
        for line in (*few, *sentences(search["sampler"], space.branches, search["n_trials"])):
            say(line)
        say(_start_line(begun, search["n_trials"], directory))
        show_card(problem, directory)
    timeout, patience = _seconds(search["timeout"]), search["patience"]
    limits = Settings(search["n_trials"], timeout, patience, objectives, config["seed"], fleet=at_once)
    fleet = FleetRuns(fleet_size(search["fleet"]))
    fleet.check(config)
    short = [*settings, *_without_checkpoints(config)]
    runner = ConfigRunner(short, _dirs, search["folds"], has_test(config, problem), fleet)
    if not helper:
        write_json(directory / "command.json", {"command": ["autoloss", "search", *map(without_passwords, _typed)]})
    worker = Search(study, space, runner, problem.metrics, limits, directory, says=say)
    if not helper:
        in_grid = search["sampler"]["name"] == "grid"
        worker.plan(list(space.grid(search["grid_points"])) if in_grid else [], turns=not in_grid)
    confirmed: list[Any] = []
    try:
        number = 0 if helper else search["workers"] - 1
        with Workers(number, ["search", *_arguments], directory, partial(release, study)) as workers:
            worker.overdue.ends = workers.end_hung
            with search_bar(study, search["n_trials"]) as worker.says:
                worker.work()
            finished = worker.reference is not None and not none_but_baseline(study)
            if search["confirm"] and len(objectives) == 1 and finished:
                if not helper:
                    say("\nconfirming on fresh seeds ...")
                candidates = chosen(study, search["confirm"], problem.metrics, guard)
                check_candidates(candidates, space, str(shown(directory)))
                confirmed = confirm(
                    runner, candidates, problem.metrics, search["confirm_seeds"], directory, config["seed"], fleet.most
                )
    except Stopped:
        outcome = Outcome(study, problem.metrics, objectives, guard=guard)
        if outcome.ranked and not helper:
            # Show the results so far.
            show(outcome, config, settings, directory, problem)
        raise
    if helper:
        return 0
    outcome = Outcome(study, problem.metrics, objectives, tuple(confirmed), guard)
    return show(outcome, config, settings, directory, problem, _dirs if search["keep"] else None)


def _check(config: Mapping[str, Any]) -> Problem:
    """Raise now for what would fail after training has begun; return the problem, which the search uses."""
    from autoloss.app.fleet_runs import fleet_size
    from autoloss.app.prepare import prepare
    from autoloss.app.ranks.environment import on_one_device
    from autoloss.app.search_space import build_space
    from autoloss.core.problem import Problem
    from autoloss.search.engine import Settings
    from autoloss.search.guard import guard_of
    from autoloss.search.runner import SCORE
    from autoloss.search.samplers import build_pruner, build_sampler
    from autoloss.search.study import check_url

    problem = prepare({key: value for key, value in config.items() if key != "search"}).problem
    search = config["search"]
    objectives = tuple(search["objectives"])
    for name in objectives:
        if name != SCORE and name not in problem.metrics:
            raise ConfigError(
                f"An objective must be score or a metric, but there is no metric {name!r}: {sorted(problem.metrics)}."
            )
    Settings(search["n_trials"], _seconds(search["timeout"]), search["patience"], objectives)
    fleet_size(search["fleet"])
    build_sampler(search["sampler"], 0, len(objectives))
    build_pruner(search["pruner"], len(objectives), search["folds"])
    build_space(config, problem)
    check_url(search["storage"] or "")
    found = f"trainer.strategy={config['trainer']['strategy']}, trainer.devices={config['trainer']['devices']}"
    require(
        on_one_device(config["trainer"]),
        "A search's trials must run on one device",
        found,
        "Set search.workers for parallel trials.",
    )
    for key, least in {"workers": 1, "confirm": 0, "folds": 0, "grid_points": 1}.items():
        require(search[key] >= least, f"search.{key} must be at least {least}", f"it is {search[key]}")
    enough = search["confirm"] == 0 or search["confirm_seeds"] >= 2
    require(enough, "search.confirm_seeds must be at least 2", f"it is {search['confirm_seeds']}")
    guard_of(search["guard"])
    has_folds = search["folds"] < 2 or type(problem).folds is not Problem.folds
    require(has_folds, "Cross-validation needs a problem with folds()", f"{config['problem']['name']} has none")
    return problem


def _start_line(begun: int, budget: int, directory: Path) -> str:
    left = max(0, budget - begun)
    return f"{begun} finished, {left} to go" if begun else f"{budget} trials in {shown(directory)}"


def _seconds(text: Any) -> float | None:
    """The seconds in ``10m``, ``2h``, ``90s`` or a plain number."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    time = str(text)
    digits, unit = (time[:-1], time[-1]) if time[-1] in units else (time, "s")
    try:
        return float(digits) * units[unit]
    except ValueError as error:
        raise ConfigError(f"search.timeout must be a time such as 90s, 10m or 2h, but it is {time!r}.") from error


def _without_checkpoints(config: Mapping[str, Any]) -> list[str]:
    return [f"checkpoint.every={config['checkpoint']['every']}"]


def _is_search_key(override: str) -> bool:
    key = key_of(override)
    return key.startswith(("search.", "search/")) or key in ("name", "fresh", "load", "seed", "test", "weighting")


def _hydra_spelling(argument: str) -> str:
    """Rewrite ``search.sampler=gp`` as the choice of a group, and quote a distribution, so that it is not a sweep."""
    key, _, value = argument.partition("=")
    if key in ("search.sampler", "search.pruner"):
        return argument.replace(".", "/", 1)
    if key.lstrip("+").startswith("search.space.") and value.endswith(")") and "(" in value:
        return f"{key}={quoted(value)}"
    return argument

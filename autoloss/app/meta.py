"""``autoloss meta``: learns one rule on several problems, and tests it on a problem that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.app.comparison import Cell, measured, show
from autoloss.app.composition import composed
from autoloss.app.directories import OUTPUTS, check_run, finished, typed_directory
from autoloss.app.hydra_app import answer_question, config_dirs, override_value, record_failure, split
from autoloss.app.run_names import directory_name, run_name
from autoloss.app.screen import say
from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import EXPORT, write_json
from autoloss.core.io.files import whole as whole_file
from autoloss.core.io.occupied import COMMAND, META, check_free
from autoloss.core.io.text_table import listed
from autoloss.meta.episodes import episodes

BASELINE, FROZEN, ANEW = "equal", "the rule, frozen", "a rule from scratch"
_PLACES = {BASELINE: "equal", FROZEN: "the_rule_frozen", ANEW: "a_rule_from_scratch"}


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, 1 if a run failed, 2 for a user's mistake."""
    flags, overrides = split(arguments)
    if (code := answer_question("meta", flags, overrides)) is not None:
        return code
    folders = config_dirs(flags)
    whole = composed("meta", list(overrides), folders)
    if whole["meta"]["by"] == "evolution":
        return _evolved(whole, overrides, arguments)
    require(
        whole["meta"]["by"] == "hypergradients",
        "meta.by must be hypergradients or evolution",
        f"it is {whole['meta']['by']!r}",
    )
    problems, unseen = [str(one) for one in whole["problems"]], whole["unseen"]
    turns = episodes(problems, whole["meta"]["rounds"], whole["seed"])
    require(unseen not in problems, "The unseen problem must not be learned on", f"{unseen!r} is one of problems")
    configs = {name: _composed(name, overrides, folders) for name in [*problems, *([unseen] if unseen else [])]}
    require(whole["meta"]["seeds"] >= 1, "meta.seeds must be at least 1", f"it is {whole['meta']['seeds']}")
    _check(configs, overrides)
    name = directory_name([whole], overrides, prefix="meta")
    directory = typed_directory(overrides, "hydra.run.dir", whole) or OUTPUTS / "meta" / name
    check_free(directory, META)
    places = [directory / "rounds" / run_name(f"{number:02d}-{one}", []) for number, (_, one) in enumerate(turns)]
    rounds = [
        (place, _with(configs[problem], whole["seed"] + turn, {"load": None if before is None else str(before)}))
        for (turn, problem), place, before in zip(turns, places, [None, *places], strict=False)
    ]
    tests = _tests(configs[unseen], whole, directory) if unseen else []
    for place, config in [*rounds, *((place, config) for _, _, place, config in tests)]:
        check_run(place, config)
    write_json(directory / COMMAND, {"command": ["autoloss", "meta", *arguments]})
    for number, ((place, config), (_, problem)) in enumerate(zip(rounds, turns, strict=True), 1):
        if _run(config, place, f"{number}/{len(turns)} {problem}") is None:
            return 1
    with whole_file(directory / EXPORT, "wb") as file:
        file.write((places[-1] / EXPORT).read_bytes())
    say(f"\nthe rule: {directory / EXPORT}\nuse it: autoloss train weighting=learned weighting.load={directory}")
    if unseen is None:
        say("The rule was not tested on another problem. Write unseen=PROBLEM to do so.")
        return 0
    return _tried(tests, directory)


def _evolved(whole: Mapping[str, Any], overrides: Sequence[str], arguments: Sequence[str]) -> int:
    from autoloss.app.evolve import check, evolve

    check(whole)
    directory = typed_directory(overrides, "hydra.run.dir", whole)
    directory = directory or OUTPUTS / "meta" / directory_name(
        [whole], overrides, ("meta.by", "meta.generations"), prefix="evolution"
    )
    check_free(directory, META)
    write_json(directory / COMMAND, {"command": ["autoloss", "meta", *arguments]})
    return evolve(whole, directory)


def _tests(
    config: dict[str, Any], whole: Mapping[str, Any], directory: Path
) -> list[tuple[str, int, Path, dict[str, Any]]]:
    """The trainings of the unseen problem: with the rule, with equal weights, and with a rule from scratch."""
    choices: dict[str, dict[str, Any]] = {BASELINE: {}, FROZEN: {"load": str(directory), "frozen": True}, ANEW: {}}
    found = []
    for seed in range(whole["seed"], whole["seed"] + whole["meta"]["seeds"]):
        for label, changes in choices.items():
            chosen = _with(config, seed, changes)
            if label == BASELINE:
                chosen["weighting"] = {"name": "equal", "wrap": []}
            found.append((label, seed, directory / "unseen" / _PLACES[label] / f"seed_{seed}", chosen))
    return found


def _tried(tests: Sequence[tuple[str, int, Path, dict[str, Any]]], directory: Path) -> int:
    cells: dict[str, list[Cell]] = {label: [] for label in _PLACES}
    places: dict[str, list[str]] = {label: [] for label in _PLACES}
    failed = []
    for label, seed, place, config in tests:
        summary = _run(config, place, f"{label}, seed {seed}")
        if summary is None:
            failed.append(f"{label}, seed {seed}")
            continue
        cells[label].append(summary)
        places[label].append(place.relative_to(directory).as_posix())
    show(cells, places, BASELINE, directory, failed, 0)
    return 1 if failed else 0


def _composed(problem: str, overrides: Sequence[str], folders: Sequence[str]) -> dict[str, Any]:
    config = composed("meta", [f"problem={problem}", *overrides], folders)
    if config["weighting"]["name"] != "learned":
        raise ConfigError(
            f"A rule must be learned by weighting=learned, but it is {config['weighting']['name']}. Leave it out."
        )
    return {key: value for key, value in config.items() if key not in ("problems", "unseen", "meta", "hydra")}


def _check(configs: Mapping[str, dict[str, Any]], overrides: Sequence[str]) -> None:
    """Raise now for what would fail after training has begun; without a test split validation data are measured."""
    from autoloss.app.prepare import prepare
    from autoloss.app.splits import check_test, has_test

    for name, config in configs.items():
        try:
            problem = prepare({**config, "test": False}).problem
            if override_value(overrides, "test") is not None:
                check_test(config, problem)
            config["test"] = config["test"] and has_test(config, problem)
        except ConfigError as error:
            raise ConfigError("\n".join(f"{name}: {line}" for line in str(error).splitlines())) from error


def _with(config: Mapping[str, Any], seed: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    weighting = {**config["weighting"], "seed": config["weighting"].get("seed", 0), **changes}
    return {**config, "seed": seed, "weighting": weighting}


def _run(config: dict[str, Any], place: Path, title: str) -> Cell | None:
    from autoloss.app.train_one import train

    if not config["fresh"] and (before := finished(place, config)):
        say(f"{title}: finished before, skipped (fresh=true runs it again)")
        return before
    check_run(place, config)
    try:
        write_json(place / "config.json", config)
        summary = train(config, place, title=title)
    except Exception as error:
        record_failure(place, error)
        return None
    (place / "failed.json").unlink(missing_ok=True)
    say(listed(title, measured(summary)))
    return summary

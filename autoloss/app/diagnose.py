"""``autoloss diagnose``: measures a problem before it is trained, and recommends what to try."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloss.app.composition import composed
from autoloss.app.current_config import training_config
from autoloss.app.directories import OUTPUTS, as_read, typed_directory
from autoloss.app.hydra_app import answer_question, config_dirs, split
from autoloss.app.run_names import directory_name
from autoloss.app.screen import report, say, shown
from autoloss.core.errors import AutolossError, OccupiedError, require
from autoloss.core.io.files import write_json
from autoloss.core.io.occupied import COMMAND, DIAGNOSE, check_free, holds, readable
from autoloss.core.io.override_key import key_of

if TYPE_CHECKING:
    from autoloss.core.problem import Problem

LOOKAHEAD = "auto_lambda"


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, or 2 for a user's mistake."""
    flags, overrides = split(arguments)
    if (code := answer_question("diagnose", flags, overrides)) is not None:
        return code
    base = config_dirs(flags)
    config = composed("diagnose", overrides, base)
    from autoloss.app.prepare import prepare

    problem = prepare(config).problem
    how = config["diagnose"]
    for key in ("runs", "batches", "epochs"):
        found = how[key]
        require(found is None or found >= 1, f"diagnose.{key} must be at least 1", f"it is {found}")
    name = directory_name([config], overrides, [f"diagnose.{key}" for key in how])
    directory = typed_directory(overrides, "hydra.run.dir", config) or OUTPUTS / "diagnose" / name
    _empty(directory, config, ["autoloss", "diagnose", *arguments])
    epochs = how["epochs"] or max(2, config["trainer"]["max_epochs"] // 5)
    settings = [*(o for o in overrides if not _own(o)), f"trainer.max_epochs={epochs}"]
    settings += [f"{part}.{key}={config[part][key]}" for part in ("record", "checkpoint") for key in config[part]]
    write_json(directory / COMMAND, {"command": ["autoloss", "diagnose", *arguments]})
    write_json(directory / "config.json", config)
    say(f"{how['runs']} short runs with equal weights, {epochs} epochs each ...")
    runs = [_train(settings, "equal", config["seed"] + i, directory / f"equal_{i}", base) for i in range(how["runs"])]
    ahead = _ahead(settings, config["seed"], directory / "lookahead", base) if how["lookahead"] else None
    _show(config, problem, directory, runs, ahead, epochs)
    return 0


def _empty(directory: Path, config: Mapping[str, Any], command: Sequence[str]) -> None:
    """Remove an earlier diagnosis of the same configuration; anything else in ``directory`` is an error."""
    check_free(directory, DIAGNOSE)
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if holds(directory) is None:
        raise OccupiedError(
            f"A diagnosis must have an empty directory, but {str(directory)!r} holds other files. "
            "Choose another one, by name= or hydra.run.dir=."
        )
    before, made = readable(directory / "config.json"), readable(directory / COMMAND)
    # 0.1.0 wrote no configuration.
    known = isinstance(before, dict) and bool(before)
    same = training_config(before) == as_read(training_config(config)) if known else made == {"command": [*command]}
    if not same and not config["fresh"]:
        raise OccupiedError(
            f"A diagnosis must not be written over by that of another configuration, but {str(directory)!r} holds one. "
            "Choose another directory, by name= or hydra.run.dir=, or write fresh=true to replace it."
        )
    shutil.rmtree(directory)


def _show(
    config: Mapping[str, Any],
    problem: Problem,
    directory: Path,
    runs: list[dict[str, Any]],
    ahead: dict[str, Any] | None,
    epochs: int,
) -> None:
    from autoloss.report.diagnosis import fixed_advice, loss_advice, traits, weighting_advice, worth
    from autoloss.report.page import plain
    from autoloss.report.record import read_record

    names = [f"equal_{i}" for i in range(len(runs))]
    records = [read_record(directory / name) for name in names]
    measured = traits(records)
    targets, losses = _targets(config, problem)
    found = {
        "problem": config["problem"]["name"],
        "epochs": epochs,
        "runs": names,
        "traits": [asdict(trait) for trait in measured],
        "targets": targets,
        "weightings": [*weighting_advice(measured), *fixed_advice(records)],
        "losses": loss_advice(targets, losses),
        "worth": worth(runs, ahead),
    }
    write_json(directory / "diagnosis.json", plain(found))
    page = report(directory)
    for title, key in (("Weightings", "weightings"), ("Losses", "losses"), ("A search", "worth")):
        say("\n".join([f"\n{title}:", *(f"- {line.replace('`', '')}" for line in found[key] or ["nothing to change"])]))
    if page is not None:
        say(f"\nreport: {shown(page)}")


def _train(settings: Sequence[str], weighting: str, seed: int, place: Path, base: Sequence[str]) -> dict[str, Any]:
    from autoloss.app.train_one import train

    whole = [*settings, f"weighting={weighting}", f"seed={seed}"]
    config = composed("train", whole, base)
    return train(config, place, whole, title=place.name, command=["autoloss", "train", *whole])


def _ahead(settings: Sequence[str], seed: int, place: Path, base: Sequence[str]) -> dict[str, Any] | None:
    # There is no look-ahead without held-out data, or with an optimiser whose step cannot be differentiated.
    try:
        return _train(settings, LOOKAHEAD, seed, place, base)
    except AutolossError as error:
        say(f"no look-ahead: {error}")
        shutil.rmtree(place, ignore_errors=True)
        return None


def _targets(config: Mapping[str, Any], problem: Problem) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts about each term's targets over some batches, and the losses that the terms have."""
    import torch

    from autoloss.app.factories import losses_in
    from autoloss.core.problem import Term
    from autoloss.probe.targets import look_at
    from autoloss.training.lightning.loaders import loader
    from autoloss.training.step.build import loss_nodes

    nodes = loss_nodes(losses_in(config, problem), problem.terms)
    chosen = {name: node if isinstance(node, str) else str(node["name"]) for name, node in nodes.items()}
    network, data = problem.network(), problem.datasets(config["seed"])["train"]
    seen: dict[str, list[torch.Tensor]] = {}
    for number, batch in enumerate(loader(data, config["batch_size"], config["seed"], True, 0)):
        if number == config["diagnose"]["batches"]:
            break
        for name, term in problem.outputs(network, batch).terms.items():
            if isinstance(term, Term):
                target = term.target if term.mask is None else term.target[term.mask]
                seen.setdefault(name, []).append(target.detach().reshape(-1))
    return {name: asdict(look_at(torch.cat(of))) for name, of in seen.items()}, chosen


def _own(override: str) -> bool:
    key = key_of(override)
    return key.startswith(("diagnose.", "hydra.", "record.", "checkpoint.")) or key in (
        "name",
        "seed",
        "weighting",
        "trainer.max_epochs",
    )

"""``autoloss.search``: a search with the user's own training function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.study import Study
from torch import nn

from autoloss.core.errors import ConfigError, first_line, require
from autoloss.core.io.disk import disk_error
from autoloss.core.io.files import KEPT, MODEL, read_json, write_json
from autoloss.core.registry.lookup import registry
from autoloss.core.space import Distribution
from autoloss.report import write as write_report
from autoloss.report.record import declared_unbalanced
from autoloss.report.write import RUN
from autoloss.search.budget import counted, none_but_baseline
from autoloss.search.confirm import chosen, confirm
from autoloss.search.dashboard import study_name
from autoloss.search.engine import Search, Settings
from autoloss.search.guard import guard_of
from autoloss.search.output import Outcome
from autoloss.search.runner import SCORE, Report, Result
from autoloss.search.samplers import build_pruner, build_sampler, sentences
from autoloss.search.space import BASELINE, Candidate, Space, middle, normalising
from autoloss.search.stop import no_exit
from autoloss.search.study import open_storage, open_study
from autoloss.training.balancer import Balancer
from autoloss.training.saved_model import save_model

KEEPS = "keeps"  # says in the study that the function calls keep()
WEIGHTINGS = ("auto", "autoscale", "fixed", "uncertainty", "dwa", "gradnorm")


@dataclass(slots=True)
class UserTrial:
    """The argument of a user's training function: a balancer to train with, and :meth:`report` for metrics.

    ``parameters`` are the values of the other searched keys, by name. ``directory`` belongs to this trial alone. Call
    :meth:`keep` with the trained network if the search is to end with a model.
    """

    candidate: Candidate
    seed: int
    directory: Path
    balancer: Balancer
    _test: bool
    _report: Report
    _asked: bool = False
    _network: nn.Module | None = None

    @property
    def test(self) -> bool:
        """True in a confirmation: then return the metrics on test data.

        A function that never reads it has no test data, and the confirmation says so.
        """
        self._asked = True
        return self._test

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The values of the keys in ``space``."""
        return self.candidate.keys

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Report metrics at a step; raises an exception to end a pruned trial, which must not be caught."""
        self._report(step, metrics)

    def keep(self, network: nn.Module) -> None:
        """Offer the trained ``network`` as the model of this trial; call it once, when the training has ended.

        A search whose function calls it ends with one more call of the function, for what was decided to use, with the
        search's own seed; what is offered then is written to ``checkpoints/model.pt``. Of the other trials no model is
        written. ``autoloss.load(directory, network=Mine())`` reads it.
        """
        self._network = network


def search(
    run: Callable[[UserTrial], Mapping[str, float]],
    losses: Sequence[str],
    metrics: Mapping[str, str],
    *,
    weightings: Sequence[str] = WEIGHTINGS,
    space: Mapping[str, Distribution] | None = None,
    decades: float = 2.0,
    normalise: bool = True,
    n_trials: int = 40,
    timeout: float | None = None,
    patience: int | None = None,
    objectives: Sequence[str] = (SCORE,),
    sampler: str | Mapping[str, Any] = "tpe",
    pruner: str | Mapping[str, Any] = "none",
    confirm_best: int = 3,
    confirm_seeds: int = 5,
    guard: float | str | None = None,
    seed: int = 0,
    directory: str | Path = "outputs/search/mine",
    storage: str | None = None,
    balancer: Mapping[str, Any] | None = None,
    says: Callable[[str], None] = print,
) -> Outcome:
    """Search which weighting, with which parameters, is best for ``run``, and whether it matters.

    ``run(trial)`` trains a model with ``trial.balancer`` and the seed ``trial.seed``, and returns its metrics; in a
    confirmation, where ``trial.test`` is true, it returns the metrics on test data; if it never reads ``trial.test``,
    the confirmation speaks of validation data. Equal weights run first. At the
    end, equal weights and the best ``confirm_best`` candidates are trained again on ``confirm_seeds`` fresh seeds
    (``confirm_best=0`` leaves that out). A second call with the same ``directory`` continues the search. If ``run``
    calls ``trial.keep(network)``, it is called once more for the choice, and that network is kept in
    ``directory/checkpoints/model.pt``.

    Args:
        losses: names of the losses that ``trial.balancer`` gets.
        metrics: ``"min"`` or ``"max"`` for the name of each metric that ``run`` returns.
        weightings: registered names to choose from; equal weights are always added.
        normalise: scale the weights of methods with a free scale to sum to K. Without it such a method can win only
            because its larger weights act like a larger learning rate.
        space: distributions of other keys, such as ``{"lr": Interval(1e-4, 1e-2, log=True)}``; the baseline has the
            middle of each.
        guard: use no candidate that makes a metric worse than equal weights by more than this share, from 0 to below 1
            or as ``"5%"``; ``None`` for no limit.
        balancer: further arguments of the :class:`Balancer` (``base``, ``groups``, ``total_steps``).

    >>> def run(trial):
    ...     total = trial.balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    ...     return {"error": abs(trial.balancer.weights["b"] - 1.5)}
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as place:
    ...     outcome = search(run, ["a", "b"], {"error": "min"}, weightings=["fixed"], n_trials=5,
    ...                      confirm_best=0, directory=place, says=lambda line: None)
    ...     len(outcome.ranked)
    5
    """
    require(bool(metrics), "A search must have metrics", "metrics is empty", 'Write metrics={"error": "min"}.')
    names = list(dict.fromkeys([BASELINE, *weightings]))
    options = {name: dict(registry.load("weighting", name).search_space) for name in names}
    player = Balancer(losses, BASELINE, **(balancer or {})).player
    terms = tuple(unit for unit, kept in zip(player.terms.units, player.declared, strict=True) if not kept)
    require(
        bool(terms), "A search must have a loss whose weight it can choose", f"all of {list(losses)} are unbalanced"
    )
    where, targets, keys, limit = Path(directory), tuple(objectives), dict(space or {}), guard_of(guard)
    defaults, wrap = {key: middle(d) for key, d in keys.items()}, normalising(names) if normalise else {}
    full_space = Space(terms, options, {}, keys, decades, defaults, wrap)
    named = _by_name(sampler)
    pruned = build_pruner(_by_name(pruner), len(targets), 0)
    directions = ["maximize" if o == SCORE or metrics.get(o) == "max" else "minimize" for o in targets]
    about = {"losses": list(losses), "metrics": dict(metrics), "weightings": names, "space": str(full_space.keys)}
    opened = open_storage(storage, where)
    name = study_name(opened, where, shared=storage is not None)
    study = open_study(opened, name, about, directions, pruned, objectives=targets)
    drawn = 0 if named["name"] == "qmc" else 1000 * len(study.trials)  # qmc keeps its sequence
    study.sampler = build_sampler(named, seed + drawn, len(targets), full_space.branches, n_trials)
    for line in (*full_space.left_out(n_trials), *sentences(named, full_space.branches, n_trials)):
        says(line)
    if begun := len(counted(study)):
        says(f"{begun} finished, {max(0, n_trials - begun)} to go")
    runner = _FunctionRunner(run, losses, metrics, balancer or {}, study)
    limits = Settings(n_trials, timeout, patience, targets, seed)
    engine = Search(study, full_space, runner, metrics, limits, where, says)
    engine.plan(turns=named["name"] != "grid")
    engine.work()
    confirmed = []
    if failed := none_but_baseline(study):
        says(failed)
    if confirm_best and len(targets) == 1 and not failed:
        confirmed = confirm(runner, chosen(study, confirm_best, metrics, limit), metrics, confirm_seeds, where, seed)
    outcome = Outcome(study, metrics, targets, tuple(confirmed), limit)
    outcome.write(where)
    write_report(where)
    says(outcome.text())
    if study.user_attrs.get(KEEPS) and not failed:
        says(runner.kept(outcome, seed, where))
    says(f"\n{outcome.banner()}")
    return outcome


class _FunctionRunner:
    """Runs a user's training function as the runner of a search."""

    def __init__(
        self,
        run: Callable[[UserTrial], Mapping[str, float]],
        losses: Sequence[str],
        goals: Mapping[str, str],
        options: Any,
        study: Study,
    ) -> None:
        self.run, self.losses, self.goals, self.options = run, list(losses), dict(goals), dict(options)
        self.study = study

    def __call__(
        self,
        candidate: Candidate,
        seed: int,
        directory: Path,
        report: Report,
        test: bool = False,
        model: Path | None = None,
    ) -> Result:
        """Run the function; the network that it offers is written to the file ``model``, if one is given."""
        import torch

        torch.manual_seed(seed)
        directory.mkdir(parents=True, exist_ok=True)
        # A trial that is run again, and a confirmation of another candidate, replace what lies here.
        for name in (*RUN, "metrics.csv"):
            (directory / name).unlink(missing_ok=True)
        balancer = Balancer(self.losses, dict(candidate.weighting), log_dir=directory, **self.options)
        trial = UserTrial(candidate, seed, directory, balancer, test, report)
        with no_exit():
            found = self.run(trial)
        if isinstance(found, Mapping):
            balancer.measured(found, self.goals)
        balancer.close()
        if not isinstance(found, Mapping):
            raise ConfigError(f"run(trial) must return metrics by name, but it returned {type(found).__name__}.")
        if trial._network is not None and not self.study.user_attrs.get(KEEPS):
            self.study.set_user_attr(KEEPS, True)
        if trial._network is not None and model is not None:
            samples = self.options.get("samples")
            save_model(model, None, trial._network, balancer.player, self._config(candidate), samples)
        metrics = {str(name): float(value) for name, value in found.items()}
        weights, summary = balancer.weights, read_json(directory / "summary.json") or {}
        kept = declared_unbalanced(directory)
        mean = float(summary.get("mean_weight_sum", sum(weights.values())))
        return Result(metrics, metrics if test and trial._asked else {}, weights, mean, kept)

    def kept(self, outcome: Outcome, seed: int, directory: Path) -> str:
        """Run the function once more for the choice, and keep its network; the sentence that says what became of it.

        Where the model of the same choice and seed is there, nothing is run.
        """
        choice, model, note = outcome.best, directory / MODEL, directory / KEPT / "choice.json"
        this = {"candidate": json.loads(json.dumps(choice.plain())), "seed": seed}
        if model.is_file() and read_json(note) == this:
            return f"model: {model} (as before)"
        model.unlink(missing_ok=True)
        try:
            self(choice, seed, directory / KEPT, _unread, model=model)
        except Exception as error:
            if disk_error(error, directory) is not None:
                raise
            return f"no model: {outcome.decision.label} failed when it was trained once more: {first_line(error)}"
        if not model.is_file():
            return "no model: run(trial) did not call trial.keep(network) when the choice was trained once more."
        write_json(note, this)
        return f"model: {model} ({outcome.decision.label}, trained once more)"

    def _config(self, candidate: Candidate) -> dict[str, Any]:
        """The balancer's settings as they are saved with a model."""
        given = self.options.get("sample_weighting", "uniform")
        require(
            isinstance(given, (str, Mapping)),
            "A model that is kept must have its sample weighting by name",
            f"it is a {type(given).__name__}",
            'Write balancer={"sample_weighting": "super_loss"}.',
        )
        plain: dict[str, Any] = {"base": {}, "groups": {}, "unbalanced": ()}
        return {
            "weighting": dict(candidate.weighting),
            "sample_weighting": given,
            **{key: self.options.get(key, none) for key, none in plain.items()},
        }


def _unread(step: int, metrics: Mapping[str, float]) -> None:
    """The run of the choice is never pruned."""


def _by_name(given: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": given} if isinstance(given, str) else given

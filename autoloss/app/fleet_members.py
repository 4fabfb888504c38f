"""Builds a member of a fleet from a run's configuration, as the run is built alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.app.data_card import show_card
from autoloss.app.fleet_checkpoints import MemberCheckpoint
from autoloss.app.fleet_request import Request
from autoloss.app.prepare import PreparedRun, prepare
from autoloss.app.train_one import with_held_out
from autoloss.core.datasets import size_of
from autoloss.search import stop
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.member import Fork, Member, check_members
from autoloss.training.fleet.plan import Plan
from autoloss.training.fleet.shared_data import SharedData
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import Job, Report
from autoloss.training.lightning.loaders import HeldOut
from autoloss.training.lightning.run_module import RunModule

Built = tuple[int, PreparedRun, RunModule, Job]


@stop.no_exit()
def built(request: Request, shared: SharedData) -> tuple[PreparedRun, RunModule, Job]:
    """The parts of a run, built as for a run alone."""
    prepared = prepare(request.config)
    prepared.restore_random()
    config, problem = prepared.config, prepared.problem
    fold, seed = request.fold, config["seed"]
    data = problem.datasets(seed) if fold is None else problem.folds(fold[1], seed)[fold[0]]
    data, held_out = dict(data), None
    whole = data["train"]
    if prepared.learns_from_held_out:
        data, held_out = with_held_out(config, problem, data)
        held_out.dataset = shared.one("held out", held_out.dataset)
    data = {split: shared.one(split, dataset) for split, dataset in data.items()}
    module = prepared.module(whole, held_out)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = prepared.ingredients.optimizer(parameters)
    plan = plan_of(config)
    for split, dataset in data.items():
        if not plan.batches(size_of(dataset, "A fleet", "Write __len__."), split):
            raise UnlikeError(f"Members of a fleet must have batches, but trainer.limit_{split}_batches leaves none.")
    size = size_of(data["train"], "A fleet", "Write __len__.")
    steps = plan.steps(size)
    if plan.checkpoint_every and steps % plan.each(size):
        raise UnlikeError(
            "Members of a fleet write checkpoints at the end of an epoch, but trainer.max_steps ends training within "
            "one. They are trained alone."
        )
    member = Member(
        problem,
        module.network,  # type: ignore[arg-type]
        module.losses,
        module.player,
        optimizer,
        prepared.ingredients.scheduler(optimizer, steps),
        penalties=module.penalties,  # type: ignore[arg-type]
        held_out=held_out,
        primary=config["held_out"]["primary"],
        objective=config["held_out"]["objective"],
        fork=fork_of(module, config["anchor"]),
    )
    check_members([member])
    request.directory.mkdir(parents=True, exist_ok=True)
    show_card(problem, request.directory)
    test = bool(config["test"]) and "test" in data
    checkpoint = MemberCheckpoint(request.directory, config, module, member) if plan.checkpoint_every else None
    report = _report(module, request.report)
    return prepared, module, Job(member, request.directory, seed, data, report, config, test, checkpoint, request.row)


def fork_of(module: RunModule, anchor: str) -> Fork:
    """Where the gradients of ``module`` meet, with ``anchor`` in its configuration."""
    if not module.forked:
        return ""
    return "parameters" if anchor == "parameters" else "features"


def _report(module: RunModule, report: Report | None) -> Report:
    """What a member does after each validation: as its module does alone, it counts plateaus."""

    def both(epoch: int, metrics: Mapping[str, float]) -> None:
        module.see_metrics(metrics)
        if report is not None:
            report(epoch, metrics)

    return both


def samples_of(job: Job) -> int:
    """The number of a run's training samples, those that it holds out included."""
    held_out = job.member.held_out
    kept = held_out.size if isinstance(held_out, HeldOut) and not held_out.trained_on else 0
    return size_of(job.data["train"], "A fleet", "Write __len__.") + kept


def plan_of(config: Mapping[str, Any]) -> Plan:
    """How long the runs of a fleet train, on what batches, and how they are recorded, from one's ``config``."""
    trainer = config["trainer"]
    size = float(trainer.get("gradient_clip_val") or 0.0)
    by_value = trainer.get("gradient_clip_algorithm") == "value"
    most = trainer.get("max_steps", -1)
    limited, epochs = most >= 0, trainer["max_epochs"]
    return Plan(
        epochs if epochs is not None and epochs >= 0 else most,
        config["batch_size"],
        trainer.get("accumulate_grad_batches") or 1,
        (Clip(value=size) if by_value else Clip(norm=size)) if size else None,
        trainer.get("check_val_every_n_epoch") or 1,
        config["record"]["every"],
        config["checkpoint"]["every"],
        config["record"]["probe_every"],
        {
            split: limit
            for split in ("train", "val", "test")
            if (limit := trainer.get(f"limit_{split}_batches")) is not None
        },
        most if limited else None,
    )

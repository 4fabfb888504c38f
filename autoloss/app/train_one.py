"""Trains one run: from its configuration to ``summary.json``."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch.utils.data import Dataset

from autoloss.app.data_card import show_card
from autoloss.app.directories import CHECKPOINT, TRAJECTORY
from autoloss.app.prepare import PreparedRun, prepare
from autoloss.app.ranks.lead import Others
from autoloss.app.run_summary import check_finite, write_summary
from autoloss.app.stop_callback import StopCallback
from autoloss.app.table_row import table_row
from autoloss.app.trainer_flags import build_trainer
from autoloss.core.errors import ConfigError
from autoloss.core.io.files import MODEL
from autoloss.core.problem import Problem
from autoloss.report.runs import FINISHED, INTERRUPTED
from autoloss.search import stop
from autoloss.training.lightning.callbacks.checkpoints import Resume, StepCheckpoint, epoch_checkpoint
from autoloss.training.lightning.callbacks.progress import Progress
from autoloss.training.lightning.callbacks.record import RecordCallback
from autoloss.training.lightning.callbacks.sample_grid import SampleGrid
from autoloss.training.lightning.loaders import HeldOut, loader
from autoloss.training.lightning.loggers import Board, build_others, other_loggers
from autoloss.training.lightning.run_module import SHARDING, RunModule
from autoloss.training.lightning.shared.checkpoint_file import CheckpointFile
from autoloss.training.lightning.shared.quick_hooks import quicken
from autoloss.training.record.hparams import TableRow
from autoloss.training.saved_model import save_model


@stop.no_exit()
def train(
    config: Mapping[str, Any],
    directory: Path,
    overrides: Sequence[str] = (),
    checkpoint: Path | None = None,
    callbacks: Sequence[Callback] = (),
    title: str = "",
    fold: tuple[int, int] | None = None,
    command: Sequence[str] = (),
    prepared: PreparedRun | None = None,
    model: Path | None = None,
    row: TableRow | None = None,
) -> dict[str, Any]:
    """Train the run that ``config`` describes in ``directory``; write its summary there and return it.

    ``fold`` (i, n) trains on all but the i-th of n parts of the problem's training and validation data. ``command`` is
    the command line that trains the same run. ``prepared`` is the result of :func:`prepare` for ``config``, if it was
    called before. ``model`` is where the trained model is written; without it, a run with checkpoints writes it beside
    them. ``row`` is the run's row in TensorBoard's table; without it, it is made from ``overrides``. A training that
    is asked to stop writes a summary too, with the state ``interrupted``, and raises
    :class:`Stopped`.

    On several devices the other processes train too, and write nothing; their summary is empty.
    """
    with Others() as others:
        return _train(
            others, config, directory, overrides, checkpoint, callbacks, title, fold, command, prepared, model, row
        )


def _train(
    others: Others,
    config: Mapping[str, Any],
    directory: Path,
    overrides: Sequence[str],
    checkpoint: Path | None,
    callbacks: Sequence[Callback],
    title: str,
    fold: tuple[int, int] | None,
    command: Sequence[str],
    prepared: PreparedRun | None,
    model: Path | None,
    row: TableRow | None,
) -> dict[str, Any]:
    quiet()
    begun = time.perf_counter()
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    if prepared is None:
        prepared = prepare(config)
    prepared.restore_random()
    problem, original, config = prepared.problem, config, prepared.config
    data = problem.datasets(config["seed"]) if fold is None else problem.folds(fold[1], config["seed"])[fold[0]]
    if not {"train", "val"} <= set(data):
        raise ConfigError(f"datasets() must give 'train' and 'val', but it gives {sorted(data)}.")
    whole, held_out = data["train"], None
    if prepared.learns_from_held_out:
        data, held_out = with_held_out(config, problem, data)
    module = prepared.module(whole, held_out)
    order = module.order(data["train"], config["seed"])
    loaders = {
        split: loader(dataset, config["batch_size"], config["seed"], train, config["workers"], order if train else None)
        for split, dataset in data.items()
        for train in [split == "train"]
    }
    checkpoints = checkpoint_callbacks(config, directory)
    stepwise = config["checkpoint"]["every_steps"]
    if stepwise and not module.automatic_optimization:
        raise ConfigError(
            f"checkpoint.every_steps needs a module that takes one batch at a time, but {type(module).__name__} takes "
            "several. Leave it out: the checkpoint at the end of each epoch is still written."
        )
    board = Board(str(directory), name="", version="", default_hp_metric=False)
    row = row or table_row(config, overrides)
    trainer = build_trainer(
        config["trainer"],
        default_root_dir=str(directory),
        logger=[
            board,
            *build_others(other_loggers(config["trainer"].get("logger")), directory, title or directory.name),
        ],
        callbacks=[
            RecordCallback(directory, **config["record"], config=config, row=row),
            Progress(title),
            SampleGrid(directory),
            Resume(),
            *callbacks,
            StopCallback(directory / CHECKPOINT if checkpoints else None),
            *checkpoints,
        ],
        plugins=[CheckpointFile()],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(checkpoints),
        num_sanity_val_steps=0,
    )
    quicken(trainer, module)
    stop.check()
    task = {"config": dict(original), "checkpoint": str(checkpoint.resolve()) if checkpoint else None, "fold": fold}
    others.join(trainer, directory, task)
    if trainer.is_global_zero:
        show_card(problem, directory)
    state = FINISHED
    try:
        trainer.fit(module, loaders["train"], loaders["val"], ckpt_path=str(checkpoint) if checkpoint else None)
    except BaseException:
        # A stop may raise another error than Stopped: Lightning handles some signals itself, and when one rank stops,
        # the other ranks fail.
        if not stop.requested() or not (directory / TRAJECTORY).exists():
            raise
        state = INTERRUPTED
    # Read before validation, which removes the training data from the trainer.
    steps = module.clock.step
    if state == FINISHED and not any(name.startswith("val/") for name in trainer.callback_metrics):
        # The run went on from a checkpoint of the last epoch, so fit() trained and validated nothing.
        trainer.validate(module, loaders["val"], verbose=False)
    metrics = _metrics(trainer, "val", state == FINISHED)
    if state == FINISHED:
        check_finite(metrics, "validation")
    test_metrics = _tested(trainer, module, loaders) if config["test"] and state == FINISHED else {}
    if test_metrics:
        check_finite(test_metrics, "test")
    if not trainer.is_global_zero:
        return {}
    place = model or (directory / MODEL if checkpoints else None)
    # A module of a plugin may not say which network it evaluates; one rank has only a part of a network in shards.
    known = type(module).evaluated is not RunModule.evaluated and not isinstance(trainer.strategy, SHARDING)
    if place and known and state == FINISHED:
        save_model(
            place, problem, module.evaluated, module.player, config, len(whole) if hasattr(whole, "__len__") else None
        )
    summary = write_summary(
        directory,
        module,
        config,
        given=original,
        state=state,
        metrics=metrics,
        test_metrics=test_metrics,
        steps=steps,
        seconds=time.perf_counter() - begun,
        overrides=overrides,
        command=command,
        constant={} if fold else problem.constant_metrics(),
    )
    if state == INTERRUPTED:
        stop.check()
    return summary


def with_held_out(
    config: Mapping[str, Any], problem: Problem, data: Mapping[str, Dataset[Any]]
) -> tuple[dict[str, Dataset[Any]], HeldOut]:
    """``data`` with what is trained on, and the batches of held-out data."""
    options, seed = config["held_out"], config["seed"]
    size = options["batch_size"] or config["batch_size"]
    if options["source"] == "train":
        return dict(data), HeldOut(data["train"], size, seed, trained_on=True)
    train, held = problem.hold_out(data["train"], options["share"], seed)
    return {**data, "train": train}, HeldOut(held, size, seed)


def _tested(trainer: pl.Trainer, module: pl.LightningModule, loaders: Mapping[str, Any]) -> dict[str, float]:
    if "test" not in loaders:
        raise ConfigError("test=true needs a test split, but datasets() gives none.")
    trainer.test(module, loaders["test"], verbose=False)
    return _metrics(trainer, "test")


def _metrics(trainer: pl.Trainer, split: str, needed: bool = True) -> dict[str, float]:
    found = {
        name.removeprefix(f"{split}/"): float(v)
        for name, v in trainer.callback_metrics.items()
        if name.startswith(f"{split}/")
    }
    if needed and not found:
        raise ConfigError("A problem must report metrics, but measure() gave none.")
    return found


def checkpoint_callbacks(config: Mapping[str, Any], directory: Path) -> list[Callback]:
    """What writes the checkpoints of a run of ``config`` in ``directory``."""
    epochs, steps = config["checkpoint"]["every"], config["checkpoint"]["every_steps"]
    # Both callbacks write to the same file: only the newest checkpoint is kept.
    place = directory / CHECKPOINT
    options: dict[str, Any] = {"dirpath": place.parent, "filename": place.stem, "enable_version_counter": False}
    found: list[Callback] = []
    if epochs > 0:
        found.append(epoch_checkpoint(**options, every_n_epochs=epochs, save_on_train_epoch_end=True))
    if steps > 0:
        found.append(StepCheckpoint(**options, every_n_train_steps=steps))
    return found


def quiet() -> None:
    """Keep Lightning's notes and warnings from users who can do nothing about them."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Every Trainer warns of these, and a user of autoloss can do nothing about them.
    for message in (
        ".*does not have many workers.*",
        ".*litlogger.*",
        # Said in docs/devices.md.
        ".*Using `DistributedSampler` with the dataloaders.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*LeafSpec.*",
        # A loss may hold a frozen network (perceptual).
        ".*in eval mode at the start of training.*",
        # A resumed run may write checkpoints at other times or in another place than the run before it.
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*The dirpath has changed from.*",
        # A batch was left out on purpose; the summary counts it.
        ".*`training_step` returned `None`.*",
    ):
        warnings.filterwarnings("ignore", message=message)

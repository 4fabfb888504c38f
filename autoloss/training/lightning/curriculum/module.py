"""Trains on easy samples first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from autoloss.core.datasets import size_of
from autoloss.core.errors import ConfigError, require
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.core.schedules.pacing import parse_pacing
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.core.weighting import Weighting
from autoloss.training.lightning.curriculum.difficulty import LOSS, Difficulty, known_difficulty
from autoloss.training.lightning.curriculum.sampler import PacedShuffle
from autoloss.training.lightning.module_builder import OptimizerFactory
from autoloss.training.lightning.multitask import MultiTaskModule


class CurriculumModule(MultiTaskModule):
    """A multi-task module that starts with the easiest samples, and uses more of the data as training proceeds.

    ``pacing`` is a schedule of the share of the data in use, easiest first (``root(0.2,0.5)``, see
    :mod:`autoloss.core.schedules.pacing`). Without it all data are in use, and a sample weighting is the only
    curriculum. ``difficulty`` says what is easy: a key of the data, a function of the training set (or its import
    path ``module:function``), or ``loss``. With ``loss`` training uses all data for ``warmup`` epochs, and then
    measures the loss of each sample in one pass. The other arguments are those of :class:`MultiTaskModule`.
    """

    difficulty: Tensor

    def __init__(
        self,
        problem: Problem,
        losses: Mapping[str, Loss],
        weighting: Weighting,
        optimizer: OptimizerFactory,
        *,
        pacing: str | float | None = None,
        difficulty: Difficulty | None = None,
        warmup: int = 1,
        **kwargs: Any,
    ) -> None:
        check_curriculum(pacing, difficulty, warmup)
        super().__init__(problem, losses, weighting, optimizer, **kwargs)
        self.pacing = None if pacing is None else parse_pacing(pacing)
        self.given, self.warmup = difficulty, warmup
        self._order: PacedShuffle | None = None
        self._data: Any = None
        # NaN until it is measured. It is in checkpoints, so that a resumed run does not measure it again.
        self.register_buffer("difficulty", torch.zeros(0, dtype=torch.float32))
        self._measured = False

    def order(self, dataset: Dataset[Any], seed: int) -> PacedShuffle:
        """The sampler of the training data; the training loader must use it."""
        size = size_of(dataset, "A curriculum", "Set module=multitask.")
        self._order, self._data = PacedShuffle(size, seed, self.pacing), dataset
        if self.given is not None and self.given != LOSS:
            self._order.learn(known_difficulty(self.given, dataset))
        elif self.given == LOSS:
            self.difficulty = torch.full((size,), torch.nan, dtype=torch.float32, device=self.device)
        return self._order

    def on_train_start(self) -> None:
        """Order the data of a run that resumes within an epoch."""
        super().on_train_start()
        self._set_pace()

    def on_train_epoch_start(self) -> None:
        """Set the length of training in epochs, and measure the difficulty when the warm-up is over."""
        super().on_train_epoch_start()
        self._set_pace()

    def _set_pace(self) -> None:
        if self.pacing is None:
            return
        if self._order is None:
            raise ConfigError(
                "A curriculum must order its data, but the training loader has another sampler. Write "
                "DataLoader(data, sampler=module.order(data, seed), ...)."
            )
        total = float(self.trainer.estimated_stepping_batches) * self.trainer.accumulate_grad_batches
        epochs = total / self.trainer.num_training_batches
        require(
            epochs < float("inf"), "A pacing needs a training with an end", "it has none", "Set trainer.max_epochs."
        )
        self._order.epochs = epochs
        if self.given != LOSS or self.current_epoch < self.warmup or self._measured:
            return
        if bool(self.difficulty.isnan().any()):
            self.difficulty.copy_(self._losses())
        self._order.learn(self.difficulty)
        self._measured = True

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Weigh one batch, and record the share of the data in use."""
        if self.pacing is not None and self._order is not None:
            loader: Any = self.trainer.train_dataloader
            place = batch_idx * (getattr(loader, "batch_size", None) or 1) * world_size()
            self.player.notes.scalar("data_used", self._order.used(place))
        return super().training_step(batch, batch_idx)

    @torch.no_grad()
    def _losses(self) -> Tensor:
        """The base-weighted loss [N] of each training sample, measured in one pass that the ranks share.

        A loss that a sample has no label for counts as the mean of its others; a sample without any label counts as the
        mean of all samples.
        """
        loader: Any = self.trainer.train_dataloader
        rows = range(self.trainer.global_rank, len(self.difficulty), world_size())
        batches = DataLoader(
            self._data,
            batch_size=loader.batch_size,
            sampler=rows,
            collate_fn=getattr(self._data, "collate", None),
            generator=torch.Generator(),
        )
        found = torch.zeros_like(self.difficulty)
        known = torch.zeros_like(found)
        at, was = 0, self.network.training
        self.network.eval()
        for batch in batches:
            batch = self.trainer.strategy.batch_to_device(batch, self.device)
            with self.trainer.precision_plugin.forward_context():
                table = self.table(self.problem.outputs(self.network, batch))
            entries = [table.entry(name) for name in self.player.terms.names]
            pairs = zip(self.player.terms.base, entries, strict=True)
            parts = [(base, *entry.samples()) for base, entry in pairs if entry is not None and entry.values.dim()]
            if not parts:
                raise ConfigError("A difficulty by loss needs a loss with a value for each sample, but there is none.")
            values = torch.stack([base * losses.where(present, 0.0) for base, losses, present in parts]).sum(0)
            here = torch.stack([base * present.float() for base, _, present in parts]).sum(0)
            place = torch.as_tensor(rows[at : at + len(values)], device=found.device)
            found[place] = values * (sum(base for base, _, _ in parts) / here.where(here > 0, 1.0))
            known[place] = (here > 0).float()
            at += len(values)
        self.network.train(was)
        found, known = sum_over_ranks(torch.stack([found, known])).unbind()
        return torch.where(known > 0, found, found.sum() / known.sum().clamp(min=1))


def check_curriculum(pacing: str | float | None, difficulty: Difficulty | None, warmup: int) -> None:
    """Raise :class:`ConfigError` unless the three arguments go together."""
    require(warmup >= 0, "module.warmup must be at least 0", f"it is {warmup}")
    if pacing is not None:
        parse_pacing(pacing)
        require(
            difficulty is not None,
            "A pacing needs a difficulty",
            "module.difficulty is null",
            "Name a key of the data, module:function, or loss.",
        )
    else:
        require(difficulty is None, "A difficulty needs a pacing", "module.pacing is null", "Write root(0.2,0.5).")

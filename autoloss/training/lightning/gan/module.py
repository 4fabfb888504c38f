"""Trains a generator and a discriminator, each with several losses of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import ParallelStrategy
from torch import nn
from torch.optim import Optimizer

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.core.gan.gan_problem import GanProblem, Generated
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable
from autoloss.probe.fork import Fork
from autoloss.training.lightning.gan.checks import check_flags, check_gan, check_strategy, check_surgery
from autoloss.training.lightning.gan.collapse import Collapse
from autoloss.training.lightning.gan.evaluation import EvaluatesGenerator
from autoloss.training.lightning.gan.moving_average import MovingAverage
from autoloss.training.lightning.gan.pace import Pace
from autoloss.training.lightning.gan.player import DISCRIMINATOR, GENERATOR, GanPlayer, PlayerOptions, rename_old_keys
from autoloss.training.lightning.gan.player_table import Logits, player_table
from autoloss.training.lightning.gan.turn_record import one_row
from autoloss.training.lightning.shared.anchors import ANCHORS, check_anchor
from autoloss.training.lightning.shared.scaling import loss_scale, will_step
from autoloss.training.step.player import Player


class GanModule(EvaluatesGenerator):
    """Trains a problem's generator and discriminator; each has a player that weighs its losses.

    Training goes in turns. In a turn the discriminator makes its optimiser steps first, and the generator then makes
    its own against the updated discriminator. A player needs ``steps * accumulate`` batches for a turn. The module
    collects as many batches as the larger of the two needs; each player uses the last of them. The last turn of an
    epoch uses the batches that are left. If the generator needs one batch only, it is trained on the samples that the
    discriminator's last batch has seen.

    Optimisation is manual. The Trainer is in charge of precision, strategies (DDP must find unused parameters) and
    checkpoints. Accumulation and clipping are set for each player, in :class:`PlayerOptions`.
    ``Trainer.global_step`` counts the steps of both optimisers; records count batches.

    Args:
        problem: the data, the two networks, and the terms of the losses.
        generator: how the generator is trained.
        discriminator: how the discriminator is trained.
        average: decay of a moving average of the generator, in [0, 1); that average is then evaluated. ``None``
            evaluates the generator.
        pace: learns which player to update more often; ``None`` updates both in every turn.
        on_nonfinite: ``"raise"``, or ``"skip"`` to leave a batch out of the player's step and count it.
        anchor: ``"features"`` for the anchor that the problem gives, ``"fork"`` for a fork at the samples.
        plateau: defines a plateau of the validation metric, which schedules can follow: ``metric``, ``patience``,
            ``change``.
    """

    def __init__(
        self,
        problem: GanProblem,
        generator: PlayerOptions,
        discriminator: PlayerOptions,
        average: float | None = None,
        pace: Pace | None = None,
        on_nonfinite: str = "raise",
        anchor: str = ANCHORS[0],
        plateau: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_anchor(anchor)
        check_surgery(discriminator.weighting)
        self.automatic_optimization = False
        self.problem = check_gan(problem)
        self.network, self.discriminator = problem.network(), problem.discriminator()
        terms, discriminator_terms = list(problem.terms), list(problem.discriminator_terms)
        self.generator_player = GanPlayer(GENERATOR, terms, generator, on_nonfinite)
        self.discriminator_player = GanPlayer(DISCRIMINATOR, discriminator_terms, discriminator, on_nonfinite)
        self.register_load_state_dict_pre_hook(rename_old_keys)
        players = (self.generator_player, self.discriminator_player)
        self.keep_losses({f"{player.name}/{name}": loss for player in players for name, loss in player.losses.items()})
        self.average = None if average is None else MovingAverage(self.network, average)
        self.pace, self.collapse = pace, Collapse()
        self.forked = anchor == "fork" or isinstance(generator.weighting, Surgery)
        self.batches, self.seed = 0, torch.initial_seed()
        self._waiting: list[Any] = []
        self._shared: Generated | None = None
        self._stepping: GanPlayer | None = None
        self.follow_plateaus(problem.metrics, **(plateau or {}))

    @property
    def player(self) -> Player:  # type: ignore[override]
        """The generator's player."""
        return self.generator_player

    @property
    def players(self) -> dict[str, Player]:
        """Both players by name."""
        return {player.name: player for player in (self.generator_player, self.discriminator_player)}

    @property
    def clock(self) -> Clock:
        """The place in training; its step counts batches."""
        total = self.length
        progress = min(1.0, self.batches / total) if total else 0.0
        return Clock(self.batches, self.current_epoch, progress, self.plateaus.count, self.unknown)

    @property
    def evaluated(self) -> nn.Module:
        """The generator's moving average, if there is one, else the generator."""
        return self.network if self.average is None else self.average.network

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the Trainer's flags, before Lightning does with errors that say less; there are no callbacks."""
        trainer = self.trainer
        check_flags(trainer.gradient_clip_val, trainer.accumulate_grad_batches, trainer.max_steps)
        return []

    def setup(self, stage: str) -> None:
        """Check the strategy."""
        check_strategy(self.trainer.strategy)

    def configure_optimizers(self) -> Any:
        """One optimiser for each player, the generator's first; each scheduler makes a step in each turn."""
        optimizers, schedules = [], []
        turns = self._turns()
        networks = (self.network, self.discriminator)
        for player, network in zip((self.generator_player, self.discriminator_player), networks, strict=True):
            of = [p for part in (network, *player.losses.values()) for p in part.parameters() if p.requires_grad]
            optimizers.append(player.options.optimizer(of))
            if player.options.scheduler is not None:
                schedules.append(player.options.scheduler(optimizers[-1], turns))
        return optimizers, schedules

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Collect one batch; run the turn when its batches are complete."""
        self._waiting.append(batch)
        if len(self._waiting) == self._turn_size() or self.trainer.is_last_batch:
            turn, self._waiting = self._waiting, []
            with one_row(self.players.values(), self.batches):
                self._run_turn(turn)
            self.batches += len(turn)

    def _run_turn(self, turn: Sequence[Any]) -> None:
        clock, ranks = self.clock, self.trainer.world_size
        if ranks > 1:
            # All ranks start with one seed and would draw the same noise.
            torch.manual_seed(((self.seed + self.batches * 1_000_003) * ranks + self.global_rank) % 2**63)
        generator, discriminator = (True, True) if self.pace is None else self.pace.turn()
        batches = turn[-self.generator_player.options.batches :]
        shares = generator and discriminator and len(batches) == 1
        if discriminator:
            its = turn[-self.discriminator_player.options.batches :]
            self._steps(self.discriminator_player, its, clock, keep_last=shares)
        if generator:
            trained = [p for p in self.discriminator.parameters() if p.requires_grad]
            for parameter in trained:
                parameter.requires_grad_(False)
            try:
                self._steps(self.generator_player, batches, clock)
            finally:
                for parameter in trained:
                    parameter.requires_grad_(True)
            if self.average is not None:
                self.average.follow(self.network, self.generator_player.steps_done - 1)
        self._shared = None
        self._schedule()

    def _steps(self, player: GanPlayer, batches: Sequence[Any], clock: Clock, keep_last: bool = False) -> None:
        size = player.options.accumulate
        for first in range(0, len(batches), size):
            window = batches[first : first + size]
            self._step(
                player, window, replace(clock, step=player.steps_done), keep_last and first + size >= len(batches)
            )

    def _step(self, player: GanPlayer, window: Sequence[Any], clock: Clock, keep_last: bool) -> None:
        scale, walked = loss_scale(self.trainer, self.device), False
        for i, batch in enumerate(window):
            last = i == len(window) - 1
            table = self._table(player, batch, clock, keep_last and last)
            weighed = player.step(table, clock, scale, len(window) > 1)
            if weighed is not None:
                walked = True
                with self._synced(player, last), torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(weighed.total if len(window) == 1 else weighed.total / len(window))
        player.steps_done += 1
        if walked:
            optimizer = self._optimizer(player)
            self._stepping = player
            optimizer.step()
            optimizer.zero_grad()

    def _table(self, player: GanPlayer, batch: Any, clock: Clock, keep: bool) -> LossTable:
        if player is self.discriminator_player:
            with torch.set_grad_enabled(keep):
                generated = self.problem.generate(self.network, batch)
            self._shared = generated if keep else None
            outputs = self.problem.discriminator_outputs(self.discriminator, generated.detached(), batch)
        else:
            generated, self._shared = self._shared or self.problem.generate(self.network, batch), None
            with self.problem.branching(player.fork if self.forked else None):
                outputs = self.problem.generator_outputs(self.network, self.discriminator, generated, batch)
        table, logits = player_table(player, outputs, clock, len(generated.samples))
        if self.forked and player is self.generator_player and not isinstance(table.anchor, Fork):
            raise ConfigError(
                "A fork needs a problem that computes each term from its own copy of the samples, but "
                f"{self.problem.title()!r} does not. Write copies, anchor = self.branch(samples) in "
                "generator_outputs(), compute each term from its copy, and return the anchor."
            )
        self._note(logits, clock)
        return table

    def _note(self, logits: Sequence[Logits], clock: Clock) -> None:
        if not logits:
            return
        self.collapse.note(torch.stack([one.loss for one in logits]).abs().sum(), clock.step)
        if self.pace is not None:
            notes = self.discriminator_player.notes
            for one in logits:
                notes.scalar("accuracy", self.pace.note(one.real, one.fake))
            notes.scalar("lead", self.pace.lead)

    def _synced(self, player: GanPlayer, last: bool) -> AbstractContextManager[None]:
        # A batch that is skipped has no backward: where that may happen to the last one, each batch synchronises.
        strategy = self.trainer.strategy
        if last or player.nonfinite.skips or not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        return strategy.block_backward_sync()

    def _optimizer(self, player: GanPlayer) -> Any:
        return self.optimizers()[player is self.discriminator_player]  # type: ignore[index]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients; the weighting learns from the step unless the scaler will skip it."""
        if self._stepping is None:
            return
        player, self._stepping = self._stepping, None
        if player.options.clip is not None:
            self.clip_gradients(optimizer, player.options.clip, "norm")
        player.commit(will_step(self.trainer, optimizer))

    def _schedule(self) -> None:
        schedules = self.lr_schedulers() or []
        for schedule in schedules if isinstance(schedules, list) else [schedules]:
            schedule.step()  # type: ignore[call-arg]

    def on_train_epoch_end(self) -> None:
        """Check the numbers that were left on the device."""
        super().on_train_epoch_end()
        self.collapse.check()

    def get_extra_state(self) -> dict[str, int]:
        """The number of batches and the seed for ``state_dict``."""
        return {"batches": self.batches, "seed": self.seed}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """The number of batches and the seed from ``state_dict``."""
        self.batches, self.seed = state["batches"], state["seed"]

    def _turn_size(self) -> int:
        return max(self.generator_player.options.batches, self.discriminator_player.options.batches)

    def _turns(self) -> int:
        total, epochs = self.length, self.trainer.max_epochs or -1
        if epochs < 1 or self.trainer.num_training_batches == float("inf"):
            return max(1, int(total) // self._turn_size())
        return -(-int(self.trainer.num_training_batches) // self._turn_size()) * epochs

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
from autoloss.training.lightning.gan.role import DISCRIMINATOR, GENERATOR, Role, Seat
from autoloss.training.lightning.gan.sides import Logits, side_table
from autoloss.training.lightning.multitask import ANCHORS, check_anchor
from autoloss.training.lightning.shared.scaling import loss_scale, will_step
from autoloss.training.step.player import Player


class GanModule(EvaluatesGenerator):
    """A problem's two networks, and the player of each, which weigh their losses through the same ``weigh``.

    A turn takes as many batches as the player that needs more of them (``steps * accumulate``). When they
    are there the discriminator plays its steps on the last of them that it needs, then the generator does,
    against the discriminator as it then is; an epoch's last turn plays with what there is. Where the
    generator's turn is one batch its samples are those that the discriminator has just seen.

    Optimisation is manual inside. Precision, strategies (DDP with unused parameters found) and checkpoints are the
    Trainer's; accumulation and clipping, of which two optimisers need one each, are the :class:`Role`'s.
    ``Trainer.global_step`` counts the steps of both optimisers; records count batches.

    Args:
        problem: the data, the networks, and what the losses compare.
        generator: how the generator is trained.
        discriminator: how the discriminator is.
        average: decay of the generator's moving average, in [0, 1), which is then what is evaluated; or ``None``.
        pace: learns which side to update more, or ``None`` for both alike.
        on_nonfinite: ``"raise"``, or ``"skip"`` to leave a batch out of the player's step and count it.
        anchor: ``"features"`` for what the problem gives, ``"fork"`` for gradients that meet at the samples.
        plateau: what a plateau of validation is that schedules can follow: ``metric``, ``patience``, ``change``.
    """

    def __init__(
        self,
        problem: GanProblem,
        generator: Role,
        discriminator: Role,
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
        self.generator_seat = Seat(GENERATOR, list(problem.terms), generator, on_nonfinite)
        self.discriminator_seat = Seat(DISCRIMINATOR, list(problem.discriminator_terms), discriminator, on_nonfinite)
        seats = (self.generator_seat, self.discriminator_seat)
        self.keep_losses({f"{seat.name}/{name}": loss for seat in seats for name, loss in seat.losses.items()})
        self.average = None if average is None else MovingAverage(self.network, average)
        self.pace, self.collapse = pace, Collapse()
        self.forked = anchor == "fork" or isinstance(generator.weighting, Surgery)
        self.batches, self.seed = 0, torch.initial_seed()
        self._waiting: list[Any] = []
        self._shared: Generated | None = None
        self._acting: Seat | None = None
        self.follow_plateaus(problem.metrics, **(plateau or {}))

    @property
    def player(self) -> Player:  # type: ignore[override]
        """Who weighs the generator's losses."""
        return self.generator_seat.player

    @property
    def players(self) -> dict[str, Player]:
        """Who weighs losses here, by name."""
        return {seat.name: seat.player for seat in (self.generator_seat, self.discriminator_seat)}

    @property
    def clock(self) -> Clock:
        """Where training stands, in batches."""
        total = self.length
        progress = min(1.0, self.batches / total) if total else 0.0
        return Clock(self.batches, self.current_epoch, progress, plateaus=self.plateaus.count)

    @property
    def evaluated(self) -> nn.Module:
        """The generator's moving average, if there is one, else the generator."""
        return self.network if self.average is None else self.average.network

    def configure_callbacks(self) -> list[pl.Callback]:
        """No callbacks; the Trainer's flags are looked at here, before Lightning does and says less."""
        trainer = self.trainer
        check_flags(trainer.gradient_clip_val, trainer.accumulate_grad_batches, trainer.max_steps)
        return []

    def setup(self, stage: str) -> None:
        """Look at the strategy."""
        check_strategy(self.trainer.strategy)

    def configure_optimizers(self) -> Any:
        """One optimiser for each player, the generator's first; schedulers are stepped once a turn."""
        optimizers, schedules = [], []
        turns = self._turns()
        for seat, network in ((self.generator_seat, self.network), (self.discriminator_seat, self.discriminator)):
            of = [p for part in (network, *seat.losses.values()) for p in part.parameters() if p.requires_grad]
            optimizers.append(seat.role.optimizer(of))
            if seat.role.scheduler is not None:
                schedules.append(seat.role.scheduler(optimizers[-1], turns))
        return optimizers, schedules

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Take in one batch, and play when the turn's are there."""
        self._waiting.append(batch)
        if len(self._waiting) == self._turn_size() or self.trainer.is_last_batch:
            turn, self._waiting = self._waiting, []
            self._play(turn)
            self.batches += len(turn)

    def _play(self, turn: Sequence[Any]) -> None:
        before = {name: player.weighed for name, player in self.players.items()}
        clock, ranks = self.clock, self.trainer.world_size
        if ranks > 1:
            # Ranks begin with one seed, and would all draw the same noise.
            torch.manual_seed(((self.seed + self.batches * 1_000_003) * ranks + self.global_rank) % 2**63)
        plays = (True, True) if self.pace is None else self.pace.turn()
        mine, its = (turn[-seat.role.batches :] for seat in (self.generator_seat, self.discriminator_seat))
        shares = all(plays) and len(mine) == 1
        if plays[1]:
            self._steps(self.discriminator_seat, its, clock, keep_last=shares)
        if plays[0]:
            trained = [p for p in self.discriminator.parameters() if p.requires_grad]
            for parameter in trained:
                parameter.requires_grad_(False)
            try:
                self._steps(self.generator_seat, mine, clock)
            finally:
                for parameter in trained:
                    parameter.requires_grad_(True)
            if self.average is not None:
                self.average.follow(self.network, self.generator_seat.done - 1)
        self._shared = None
        self._schedule()
        for name, player in self.players.items():
            if player.weighed is not None and player.weighed is not before[name]:
                player.weighed = replace(player.weighed, signals=replace(player.weighed.signals, step=clock.step))

    def _steps(self, seat: Seat, batches: Sequence[Any], clock: Clock, keep_last: bool = False) -> None:
        size = seat.role.accumulate
        for first in range(0, len(batches), size):
            window = batches[first : first + size]
            self._step(seat, window, replace(clock, step=seat.done), keep_last and first + size >= len(batches))

    def _step(self, seat: Seat, window: Sequence[Any], clock: Clock, keep_last: bool) -> None:
        scale, walked = loss_scale(self.trainer, self.device), False
        for i, batch in enumerate(window):
            last = i == len(window) - 1
            table = self._table(seat, batch, clock, keep_last and last)
            weighed = seat.player.step(table, clock, scale, len(window) > 1)
            if weighed is not None:
                walked = True
                with self._synced(seat, last), torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(weighed.total if len(window) == 1 else weighed.total / len(window))
        seat.done += 1
        if walked:
            optimizer = self._optimizer(seat)
            self._acting = seat
            optimizer.step()
            optimizer.zero_grad()

    def _table(self, seat: Seat, batch: Any, clock: Clock, keep: bool) -> LossTable:
        if seat is self.discriminator_seat:
            with torch.set_grad_enabled(keep):
                generated = self.problem.generate(self.network, batch)
            self._shared = generated if keep else None
            outputs = self.problem.discriminator_outputs(self.discriminator, generated.detached(), batch)
        else:
            generated, self._shared = self._shared or self.problem.generate(self.network, batch), None
            with self.problem.branching(seat.player.fork if self.forked else None):
                outputs = self.problem.generator_outputs(self.network, self.discriminator, generated, batch)
        table, said = side_table(seat, outputs, clock, len(generated.samples))
        if self.forked and seat is self.generator_seat and not isinstance(table.anchor, Fork):
            raise ConfigError(
                "A fork needs a problem that computes each term from its own copy of the samples, but "
                f"{self.problem.title()!r} does not. Write copies, anchor = self.branch(samples) in "
                "generator_outputs(), compute each term from its copy, and return the anchor."
            )
        self._listen(said, clock)
        return table

    def _listen(self, said: Sequence[Logits], clock: Clock) -> None:
        if not said:
            return
        self.collapse.note(torch.stack([one.lost for one in said]).abs().sum(), clock.step)
        if self.pace is not None:
            notes = self.discriminator_seat.player.notes
            for one in said:
                notes.scalar("accuracy", self.pace.note(one.real, one.fake))
            notes.scalar("lead", self.pace.lead)

    def _synced(self, seat: Seat, last: bool) -> AbstractContextManager[None]:
        # Where batches may be left out, the last one is not sure to come.
        strategy = self.trainer.strategy
        if last or seat.player.nonfinite.skips or not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        return strategy.block_backward_sync()

    def _optimizer(self, seat: Seat) -> Any:
        return self.optimizers()[seat is self.discriminator_seat]  # type: ignore[index]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip, and let the weighting learn, unless the scaler will skip the step."""
        if self._acting is None:
            return
        seat, self._acting = self._acting, None
        if seat.role.clip is not None:
            self.clip_gradients(optimizer, seat.role.clip, "norm")
        seat.player.commit(will_step(self.trainer, optimizer))

    def _schedule(self) -> None:
        schedules = self.lr_schedulers() or []
        for schedule in schedules if isinstance(schedules, list) else [schedules]:
            schedule.step()  # type: ignore[call-arg]

    def on_train_epoch_end(self) -> None:
        """Look at what was noted on the device."""
        super().on_train_epoch_end()
        self.collapse.check()

    def get_extra_state(self) -> dict[str, int]:
        """The count of batches and the seed for ``state_dict``."""
        return {"batches": self.batches, "seed": self.seed}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """The count of batches and the seed from ``state_dict``."""
        self.batches, self.seed = state["batches"], state["seed"]

    def _turn_size(self) -> int:
        return max(self.generator_seat.role.batches, self.discriminator_seat.role.batches)

    def _turns(self) -> int:
        total, epochs = self.length, self.trainer.max_epochs or -1
        if epochs < 1 or self.trainer.num_training_batches == float("inf"):
            return max(1, int(total) // self._turn_size())
        return -(-int(self.trainer.num_training_batches) // self._turn_size()) * epochs

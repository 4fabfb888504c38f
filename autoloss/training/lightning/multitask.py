"""Trains one network with several losses, under any flag of Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, check_known
from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.loss import Loss
from autoloss.core.need import Need
from autoloss.core.problem import Outputs, Problem
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable
from autoloss.core.weighting import Weighting
from autoloss.probe.implicit import Implicit
from autoloss.probe.lookahead import Moment
from autoloss.probe.optimizer_step import check_optimizer, observe_step
from autoloss.probe.slopes import check_network
from autoloss.training.lightning.loaders import HeldOut
from autoloss.training.lightning.module_builder import Ingredients, OptimizerFactory, SchedulerFactory
from autoloss.training.lightning.run_module import SHARDING, RunModule
from autoloss.training.lightning.shared.anchors import check_anchor
from autoloss.training.lightning.shared.held_out_checks import check_lookahead, learner
from autoloss.training.lightning.shared.judging_losses import judging
from autoloss.training.lightning.shared.scaling import loss_scale, will_step
from autoloss.training.step.entries import table_of
from autoloss.training.step.forked import check_forked
from autoloss.training.step.lookahead import LookAhead, differentiates
from autoloss.training.step.loss_numbers import numbers_in
from autoloss.training.step.penalties import Penalties
from autoloss.training.step.player import Player


class MultiTaskModule(RunModule):
    """Trains a problem's network; a player weighs its losses.

    ``optimizer`` makes an optimiser from parameters. ``scheduler`` (optional) makes a learning-rate scheduler from an
    optimiser and the number of optimiser steps; it is stepped after each of them. Optimisation is automatic: the
    Trainer is in charge of accumulation, clipping, precision, strategies and checkpoints.

    With ``anchor="fork"``, and with any surgery, the problem's ``branch`` gives each term its own copy of the
    features, and the gradients meet there. The gradient of a loss in its own head then has the base weight only.
    With ``anchor="parameters"`` the gradients meet at the parameters that the features are computed from.
    ``penalties`` on the network's parameters (see :class:`Penalties`) are losses that keep their base weight.
    ``sample_weighting`` weighs the samples of each term; ``samples`` is the number of training samples.
    ``objective_losses`` are what held-out data is judged by, by term (see :func:`judging`). ``plateau`` defines a
    plateau of the validation metric, which schedules can follow: ``metric``, ``patience``, ``change``. ``constraints``
    bound losses, penalties and the problem's metrics (see :class:`Constraints`).
    """

    def __init__(
        self,
        problem: Problem,
        losses: Mapping[str, Loss],
        weighting: Weighting,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        base: Mapping[str, float | str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        on_nonfinite: str = "raise",
        anchor: str = "features",
        sample_weighting: SampleWeighting | None = None,
        samples: int | None = None,
        held_out: HeldOut | None = None,
        primary: Sequence[str] = (),
        implicit: Implicit | None = None,
        objective: str = "log",
        plateau: Mapping[str, Any] | None = None,
        penalties: Mapping[str, Any] | None = None,
        objective_losses: Mapping[str, Any] | None = None,
        constraints: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_anchor(anchor)
        if not problem.terms:
            raise ConfigError("A problem must have losses, but its terms are empty. Name them in `terms`.")
        check_known("loss", losses, problem.terms)
        self.problem = problem
        if sample_weighting is not None:
            sample_weighting.suit(problem)
        self.network = problem.network()
        self.keep_losses(losses)
        self.penalties = Penalties(penalties or {}, problem.terms).bind(self.network)
        self.player = Player(
            [*problem.terms, *self.penalties.names],
            weighting,
            base,
            groups,
            unbalanced,
            on_nonfinite,
            sample_weighting,
            samples,
            numbers=numbers_in(losses, list(problem.terms)),
            constraints=constraints,
            metrics=problem.metrics,
        )
        self.judges = judging(losses, problem, objective_losses or {})
        self.forked = anchor != "features" or isinstance(weighting, Surgery)
        self._fork = partial(self.player.fork, parameters=anchor == "parameters")
        self._optimizer, self._scheduler = optimizer, scheduler
        parts = nn.ModuleList([self.network, self.loss_modules])
        self._look_ahead = LookAhead(self.player, parts, primary, implicit=implicit, objective=objective)
        self.held_out = held_out
        self._learner = learner(weighting, sample_weighting, losses)
        self._aligns = Need.ALIGNMENT in self.player.learns_after
        self._differentiates = differentiates(weighting, sample_weighting, losses)
        check_lookahead(self._learner, self.forked and self._differentiates, held_out is not None)
        if self._differentiates:
            check_network(self.network)
        self._stepped: Tensor | None = None
        self._within_step, self._evaluations = False, 0
        self.follow_plateaus(problem.metrics, **(plateau or {}))

    @staticmethod
    def check_problem(problem: Problem) -> None:
        """Raise :class:`ConfigError` if ``problem`` has two networks."""
        if isinstance(problem, GanProblem):
            raise ConfigError(
                f"{problem.title()!r} has two networks, but the module trains one. Leave `module` out, or set "
                "module=gan."
            )

    @classmethod
    def of(cls, run: Ingredients, **parameters: Any) -> MultiTaskModule:
        """The module of ``run``; ``parameters`` are those that a subclass has besides."""
        cls.check_problem(run.problem)
        config = run.config
        return cls(
            run.problem,
            run.losses,
            run.weighting,
            run.optimizer,
            scheduler=run.scheduler,
            base=run.base,
            groups=run.groups,
            unbalanced=config["unbalanced"],
            on_nonfinite=config["on_nonfinite"],
            anchor=config["anchor"],
            sample_weighting=run.sample_weighting,
            samples=run.samples,
            held_out=run.held_out,
            primary=config["held_out"]["primary"],
            implicit=run.implicit,
            objective=config["held_out"]["objective"],
            plateau=config["plateau"],
            penalties=run.penalties,
            objective_losses=config["held_out"]["losses"],
            constraints=run.constraints,
            **parameters,
        )

    @property
    def players(self) -> dict[str, Player]:
        """The players by name: there is one, and its name is empty."""
        return {"": self.player}

    @property
    def clock(self) -> Clock:
        """The step, the epoch and the progress of training."""
        total, step = self.length, self.trainer.global_step
        progress = min(1.0, step / total) if total > 0 else 0.0
        return Clock(step, self.current_epoch, progress, self.plateaus.count, self.unknown)

    def table(self, outputs: Outputs, clock: Clock | None = None) -> LossTable:
        """The losses of a batch, from the network's outputs, and the penalties; ``clock`` is the present one."""
        table = self._terms(outputs, clock)
        if not self.penalties.names:
            return table
        return replace(table, entries={**table.entries, **self.penalties.entries(self.network)})

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the parameters of losses and penalties that have a schedule."""
        super().on_train_batch_start(batch, batch_idx)
        if self.penalties.names:
            self.penalties.check(self.clock)
            self.penalties.follow(self.clock.progress)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Weigh one batch; Lightning calls ``backward`` on what this returns.

        Within one step of L-BFGS the first evaluation is weighed, and its weights hold for the others.
        """
        clock = self.clock
        if self._evaluations:
            return self.player.frozen(self.table(self.outputs(batch), clock), clock)
        self._evaluations += self._within_step
        foresees, again = self.player.foresees, lambda: self.table(self.outputs(batch))
        moment = Moment.now(self.device) if foresees or self.player.looks_ahead(clock.step) else None
        if foresees and moment is not None:
            self._look_ahead.foresee(clock.step, moment, again, partial(self._held_out_table, clock.step))
        table = self.table(self.outputs(batch), clock)
        if self.forked:
            check_forked(table.anchor, self.problem)
        accumulates = self.trainer.accumulate_grad_batches > 1
        weighed = self.player.step(table, clock, loss_scale(self.trainer, self.device), accumulates)
        if moment is not None and weighed is not None and self.player.looks_ahead(clock.step):
            self._look_ahead.note(moment, again)
        return None if weighed is None else weighed.total

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """The weighting learns once for each optimiser step, unless the scaler will skip that step."""
        self._stepped = will_step(self.trainer, optimizer)
        if not self._look_ahead:
            self.player.commit(self._stepped)

    def on_fit_start(self) -> None:
        """Raise :class:`ConfigError` if a look-ahead needs whole parameters and the strategy shards them."""
        if self._differentiates and isinstance(self.trainer.strategy, SHARDING):
            raise ConfigError(
                f"{self._learner} needs whole parameters, but "
                f"{type(self.trainer.strategy).__name__} shards them. Set trainer.strategy=ddp or train on one device."
            )
        self._look_ahead.micro_batches = self.trainer.accumulate_grad_batches
        self._look_ahead.forward_context = self.trainer.precision_plugin.forward_context
        self._look_ahead.check_numbers(lambda: self._terms(self._held_out_outputs(0)))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the optimiser's step; then measure its outcome for a weighting that learns from it."""
        step = self.trainer.global_step
        aligns = Need.ALIGNMENT in self.player.looks_ahead(step)
        observed = observe_step(self.optimizers(use_pl_optimizer=False)) if aligns else nullcontext()  # type: ignore[arg-type]
        self._within_step = True
        try:
            with observed as optimizer_step:
                super().optimizer_step(*args, **kwargs)
        finally:
            self._within_step, self._evaluations = False, 0
        if not self._look_ahead:
            return
        self._look_ahead.look(step, optimizer_step, partial(self._held_out_table, step))
        if optimizer_step is None or optimizer_step:
            self.player.commit(self._stepped)
        else:
            self.player.forget()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Measure the problem's metrics."""
        self._measure("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Measure the problem's metrics."""
        self._measure("test", batch)

    def configure_optimizers(self) -> Any:
        """The optimiser of the parameters of the network and the losses; a weighting has no parameters."""
        optimizer = self._optimizer(parameter for parameter in self.parameters() if parameter.requires_grad)
        if self._aligns:
            check_optimizer(type(optimizer))
        if self._scheduler is None:
            return optimizer
        schedule = self._scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def evaluated(self) -> nn.Module:
        """The network that validation and test measure."""
        return self.network

    def outputs(self, batch: Any) -> Outputs:
        """The network's outputs for a batch, of training data or of held-out data; a subclass may add terms.

        It may be called several times in a step and must have no other effect.
        """
        if not self.forked:
            return self.problem.outputs(self.network, batch)
        with self.problem.branching(self._fork):
            return self.problem.outputs(self.network, batch)

    def _held_out_table(self, step: int) -> LossTable:
        return table_of(self._held_out_outputs(step), self.judges, self.player, self.clock)

    def _held_out_outputs(self, step: int) -> Outputs:
        assert self.held_out is not None
        batch = self.held_out.batch(step, self.global_rank)
        batch = self.trainer.precision_plugin.convert_input(self.transfer_batch_to_device(batch, self.device, 0))
        return self.outputs(batch)

    def _terms(self, outputs: Outputs, clock: Clock | None = None) -> LossTable:
        return table_of(outputs, self.losses, self.player, clock or self.clock)

    def _measure(self, split: str, batch: Any) -> None:
        outputs = self.problem.outputs(self.evaluated, batch)
        self.add_values(split, self.problem.measure(outputs))
        self.add_tally(self.problem.tally(outputs))
        if split == "val" and outputs.terms:
            # The same losses as in training: where the two curves part, the network overfits.
            table = self._terms(outputs)
            for name in table.entries:
                if (entry := table.entry(name)) is not None:
                    self.add_sum(f"val_loss/{name}", *entry.local())

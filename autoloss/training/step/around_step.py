"""Looks ahead around the step of a loop that its user owns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.optim import Optimizer

from autoloss.core.need import HELD_OUT_DATA, Need
from autoloss.core.table import Losses, LossTable
from autoloss.probe.implicit import Implicit
from autoloss.probe.lookahead import Moment
from autoloss.probe.optimizer_step import OptimizerStep, observe_step
from autoloss.probe.slopes import bare, check_network
from autoloss.training.step.learns_after import incomplete_look_ahead
from autoloss.training.step.lookahead import LookAhead
from autoloss.training.step.optimizer_steps import OptimizerSteps
from autoloss.training.step.player import Player

LossesOf = Callable[[nn.Module], Losses | LossTable]


class AroundStep:
    """Measures the outcome of the steps that are made ``within`` :meth:`around`, and lets ``player`` learn from them.

    ``steps`` knows when the step's window is complete.
    """

    def __init__(self, player: Player, steps: OptimizerSteps) -> None:
        self.player, self.steps = player, steps
        self.within = False
        self.look_ahead: LookAhead | None = None
        self._seen: list[Tensor | None] = []

    def stepped(self, made: Tensor | None) -> None:
        """The optimiser made its step within the look-ahead (``made``, a bool scalar, says whether it did)."""
        self._seen.append(made)

    def drop(self) -> None:
        """Forget the open window."""
        self.player.forget()
        self.steps.drop()
        self._seen = []
        if self.look_ahead is not None:
            self.look_ahead.drop()

    def drop_skipped(self) -> None:
        """Forget the open window if a gradient scaler skipped its step."""
        if self.steps.skipped():
            self.drop()

    @contextmanager
    def around(
        self,
        step: int,
        learns: bool,
        network: nn.Module,
        optimizers: Sequence[Optimizer],
        train: LossesOf,
        held_out: LossesOf | None,
        primary: Sequence[str],
        implicit: Implicit | None,
        objective: str,
    ) -> Iterator[None]:
        """Around optimiser step number ``step`` or one of its micro-batches; ``learns`` is false where it is frozen."""
        self.drop_skipped()
        network, before = bare(network), len(self.player.window.steps)
        needs = self.player.looks_ahead(step)
        aligns, foresees = Need.ALIGNMENT in needs, self.player.foresees and learns
        if (aligns and not optimizers) or ((needs & HELD_OUT_DATA or foresees) and held_out is None):
            raise incomplete_look_ahead(self.player, needs)
        fresh = False
        if self.look_ahead is None or self.look_ahead.network is not network:
            self.look_ahead = LookAhead(self.player, network, primary, implicit=implicit, objective=objective)
            fresh = True
        look_ahead = self.look_ahead
        if aligns or foresees:
            check_network(network)
        moment = Moment.now(next(network.parameters()).device)
        again = lambda: LossTable.of(train(network))  # noqa: E731
        held = None if held_out is None else lambda: LossTable.of(held_out(network))
        if fresh:
            look_ahead.check_numbers(again)
        if foresees and held is not None:
            look_ahead.foresee(step, moment, again, held)
        optimizer_step: OptimizerStep | None
        self.within = True
        try:
            with observe_step(*optimizers) if aligns else nullcontext() as optimizer_step:
                yield
        except BaseException:
            self.within = False
            self.drop()
            raise
        if len(self.player.window.steps) > max(before, len(look_ahead)):
            look_ahead.note(moment, again)
        self.within = False
        if not (self.steps.complete or self._seen):
            return
        # Trainers that were given a number divide by it, also where a window is short.
        given = self.steps.accumulate or 1
        look_ahead.micro_batches = given if given > 1 else max(len(look_ahead), 1)
        made, self._seen = (self._seen[-1] if self._seen else None), []
        self.steps.close()  # also if looking ahead fails: the optimiser made its step
        look_ahead.look(step, optimizer_step, held)
        if optimizer_step is None or optimizer_step:
            self.player.commit(made)
        else:
            self.player.forget()

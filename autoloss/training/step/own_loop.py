"""Where a loop that its user owns stands: optimiser steps, epochs, plateaus, and the window of the next step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, require
from autoloss.core.schedules.plateaus import Plateaus
from autoloss.core.tensors.state import StateModule
from autoloss.probe.implicit import Implicit
from autoloss.training.step.around_step import AroundStep, LossesOf
from autoloss.training.step.lookahead import LookAhead
from autoloss.training.step.optimizer_steps import OptimizerSteps, seen_finite
from autoloss.training.step.player import Player
from autoloss.training.step.saved_window import packed, unpacked


class OwnLoop(StateModule):
    """What a balancer knows of its user's loop; :meth:`start` begins it for a ``player``."""

    player: Player

    def start(self, accumulate: int | None, total_steps: int | None) -> None:
        """Begin at step 0."""
        require(total_steps is None or total_steps >= 1, "`total_steps` must be at least 1", f"it is {total_steps}")
        self.total_steps, self.accumulate = total_steps, accumulate
        self.calls, self.epoch = 0, 0
        self._unsaid = frozenset({"epoch"})
        self.plateaus = Plateaus()
        self._frozen = False
        self._saved: Tensor | None = None
        self._steps = OptimizerSteps(accumulate)
        self._around = AroundStep(self.player, self._steps)

    @property
    def clock(self) -> Clock:
        """The place in training: optimiser steps so far, epoch, progress and plateaus."""
        step = self._steps.number
        progress = min(1.0, step / self.total_steps) if self.total_steps else 0.0
        unknown = self._unsaid | (frozenset() if self.total_steps else {"progress"})
        return Clock(step, self.epoch, progress, self.plateaus.count, unknown)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, for weightings that compare epochs."""
        self.epoch, self._unsaid = epoch, frozenset()

    def validated(self, value: float, goal: str = "min") -> None:
        """Tell schedules by plateau the ``value`` of a validation metric; ``plateaus`` holds their patience."""
        self.plateaus.see(value, goal)

    def watch(self, optimizer: Optimizer) -> None:
        """Let each step of ``optimizer`` end an accumulation window, however many micro-batches it has.

        Trainers step early at the end of an epoch; counted calls do not see it. Where there are several optimisers, the
        one that is named counts. A step that a gradient scaler skips is none. Further calls within one step (L-BFGS,
        line searches) use the weights again that the first one got. Optimisers that Accelerate or Lightning wrapped are
        taken. Where gradients are compared at parameters, they are held until the step.

        >>> from autoloss import Balancer
        >>> net = torch.nn.Linear(2, 2)
        >>> optimizer, balancer = torch.optim.SGD(net.parameters(), 0.1), Balancer(["a", "b"])
        >>> balancer.watch(optimizer)
        >>> for number in range(1, 6):
        ...     out = net(torch.ones(3, 2)).square()
        ...     balancer({"a": out[:, 0], "b": out[:, 1]}).backward()
        ...     if number in (4, 5):  # a window of four, and one of one
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        >>> balancer.clock.step
        2
        """
        self._steps.watch(optimizer, self._seen)

    def stepped(self, made: bool | Tensor = True) -> None:
        """Say that the optimiser made its step, and so end the window; for ``accumulate=None``.

        If it was not ``made``, nothing is learned from the window. A bool that is false also ends the window of a
        watched optimiser whose step was skipped and whose gradients were zeroed in place.
        """
        require(
            not self._steps.counted,
            "A window is ended either by its last call or by `stepped()`",
            f"calls are counted here, accumulate={self.accumulate}",
            "Pass accumulate=None.",
        )
        if isinstance(made, bool) and not made:
            self._saved = None
            self._around.drop()
        elif self._steps.watched:
            raise ConfigError(
                "A step must be seen once, but the optimiser is watched and `stepped()` is called too. Leave one out."
            )
        else:
            self._end(made if isinstance(made, Tensor) else None)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within it the last weights are used again and nothing is learned (L-BFGS closures, line searches)."""
        before, self._frozen = self._frozen, True
        try:
            yield
        finally:
            self._frozen = before

    @contextmanager
    def lookahead(
        self,
        network: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        train: LossesOf,
        held_out: LossesOf | None = None,
        primary: Sequence[str] = (),
        implicit: Implicit | None = None,
        objective: str = "log",
    ) -> Iterator[None]:
        """Put it around a step (forward, backward, ``optimizer.step()``) for weightings that look ahead.

        ``train(network)`` is called again after the step, with the same random numbers: it must compute the losses of
        the same batch. Weightings that learn from held-out data also need ``held_out(network)``, the losses of a batch
        that is not trained on. All of them but ``coba`` need the optimizer (SGD, Adam, AdamW, RMSprop, Adagrad or
        NAdam) and minimise the ``objective`` of the ``primary`` losses (all by default): ``log`` is the sum of their
        logarithms, so that a change counts by its ratio (losses must not be negative); ``sum`` is their base-weighted
        sum. If several optimisers step, name all in a list.
        Gradients must not be zeroed before the end. Both functions must have no other effect; buffers and random
        generators are put back. The gradient must be the micro-batches' sum over ``accumulate``; their mean, where
        calls are not counted; or a sum with ``items``. ``implicit`` judges weights by their effect on settled
        parameters.

        >>> from autoloss import Balancer
        >>> net, x, held = torch.nn.Linear(2, 2), torch.ones(3, 2), torch.zeros(3, 2)
        >>> losses_of = lambda net, x=x: {"a": net(x)[:, 0].square(), "b": net(x)[:, 1].square()}
        >>> balancer, optimizer = Balancer(["a", "b"], "auto_lambda"), torch.optim.SGD(net.parameters(), 0.1)
        >>> with balancer.lookahead(net, optimizer, train=losses_of, held_out=lambda net: losses_of(net, held)):
        ...     balancer(losses_of(net)).backward()
        ...     optimizer.step()
        """
        optimizers = [] if optimizer is None else [optimizer] if not isinstance(optimizer, Sequence) else optimizer
        learns = self.training and not self._frozen
        step = self.clock.step
        with self._around.around(step, learns, network, optimizers, train, held_out, primary, implicit, objective):
            before = self.calls - self._steps.calls
            try:
                yield
            except BaseException:
                self.calls = before  # the window is given up
                raise

    def get_extra_state(self) -> Tensor:
        """Counters for ``state_dict`` and what an open window measured so far.

        They are a tensor, since safetensors and sharded checkpoints hold only tensors.
        """
        counters = [self.calls, self.epoch, *self.plateaus.state().values(), self._steps.number, self._steps.calls]
        window = packed(self.player.window) if self._saved is None else self._saved
        return torch.cat([torch.tensor(counters, dtype=torch.float64), window])

    def set_extra_state(self, state: Tensor) -> None:
        """Counters from ``state_dict``, and the window that was open."""
        number = 2 + len(self.plateaus.state())
        calls, epoch, *plateaus = state[:number].tolist()
        self.calls, self.epoch = int(calls), int(epoch)
        self.plateaus.load(dict(zip(self.plateaus.state(), plateaus, strict=True)))
        self._around.drop()
        steps, within = state[number : number + 2].tolist() or divmod(calls, self.accumulate or 1)  # the latter: 0.1.0
        self._steps.number, self._steps.calls = int(steps), int(within)
        saved = state[number + 2 :].detach().cpu().clone()
        # The effect of a step cannot be measured on micro-batches that are gone.
        self._saved = saved if len(saved) and not self.player.learns_after else None

    def _continue(self, device: torch.device) -> None:
        """Go on with the window that was open in the checkpoint."""
        if self._saved is not None:
            self.player.window.steps[:0] = unpacked(self._saved, device)
            self._saved = None

    @property
    def _look_ahead(self) -> LookAhead | None:
        return self._around.look_ahead

    def _seen(self, optimizer: Optimizer) -> None:
        if not self._frozen:
            self._end(seen_finite(optimizer))

    def _end(self, made: Tensor | None) -> None:
        if self._around.within:
            self._around.stepped(made)
        else:
            self._close(made)

    def _close(self, made: Tensor | None = None) -> None:
        self._continue(self.player.last.device)
        self._steps.close()
        self.player.close_window(made)

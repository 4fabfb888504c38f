"""The public entry for people who own their loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoloss.core.clock import Clock
from autoloss.core.errors import SignalError, require, unknown
from autoloss.core.need import HELD_OUT_DATA, Need
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.schedules.plateaus import Plateaus
from autoloss.core.table import Anchor, Entry, Losses, LossTable
from autoloss.core.tensors.compile import uncompiled
from autoloss.core.tensors.state import StateModule
from autoloss.core.weighting import Weighting
from autoloss.probe.fork import Fork
from autoloss.probe.implicit import Implicit
from autoloss.probe.lookahead import Moment
from autoloss.probe.optimizer_step import OptimizerStep, observe_step
from autoloss.probe.slopes import bare, check_network
from autoloss.training.record.cadence import Cadence
from autoloss.training.record.lazy_start import ClosedAtEnd, LazyRunDirectory
from autoloss.training.step.build import build_sample_weighting, build_weighting
from autoloss.training.step.lookahead import LookAhead, incomplete_look_ahead
from autoloss.training.step.notes import Notes
from autoloss.training.step.player import Player

LossesOf = Callable[[nn.Module], Losses | LossTable]


class Balancer(ClosedAtEnd, StateModule):
    """Turns several losses into one total, with weights that it learns.

    ``total = sum_k base_k * w_k * L_k`` with ``w`` from ``weighting``: a registered name, a mapping
    ``{"name": "gradnorm", "alpha": 1.0}``, or a :class:`Weighting`.

    Args:
        losses: the names of the losses, in the order of every [K] tensor; or their base weights by name.
        weighting: the weighting that gives the weights.
        base: base weights by loss (or group) name; they multiply the weights of the weighting.
        groups: losses whose base-weighted sum is balanced as one, by group name.
        unbalanced: losses that keep their base weight; the weighting does not see them.
        total_steps: optimiser steps of the whole training; schedules need them for ``progress``.
        accumulate: how many calls make one optimiser step.
        on_nonfinite: ``"raise"``, or ``"skip"`` to leave a batch out and count it.
        log_dir: the directory for the record, TensorBoard events and, in :meth:`close`, the report; none by default.
        record_every: how many steps lie between two rows of the record; ever more in a long training.
        sample_weighting: weighs the samples of losses with one value for each sample; given like ``weighting``.
        samples: how many samples the training data have, for sample weightings that keep a number for each.
        probe_every: if the weighting measures no gradients, how many steps lie between two measurements of them for the
            record alone; 0 measures none.

    >>> balancer = Balancer(["depth", "kl"], weighting="equal", base={"kl": 0.1})
    >>> balancer({"depth": torch.tensor(1.0), "kl": torch.tensor(2.0)})
    tensor(1.2000)
    """

    def __init__(
        self,
        losses: Sequence[str] | Mapping[str, float],
        weighting: str | Mapping[str, Any] | Weighting = "uncertainty",
        *,
        base: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        total_steps: int | None = None,
        accumulate: int = 1,
        on_nonfinite: str = "raise",
        log_dir: str | Path | None = None,
        record_every: int = 10,
        sample_weighting: str | Mapping[str, Any] | SampleWeighting = "uniform",
        samples: int | None = None,
        probe_every: int = 0,
    ) -> None:
        super().__init__()
        require(accumulate >= 1, "`accumulate` must be at least 1", f"accumulate={accumulate}")
        require(probe_every >= 0, "`probe_every` must not be negative", f"probe_every={probe_every}")
        require(total_steps is None or total_steps >= 1, "`total_steps` must be at least 1", f"it is {total_steps}")
        sampled = build_sample_weighting(sample_weighting)
        self.player = Player(
            losses, build_weighting(weighting), base, groups, unbalanced, on_nonfinite, sampled, samples
        )
        self.total_steps, self.accumulate = total_steps, accumulate
        self.calls, self.epoch, self._unsaid = 0, 0, frozenset({"epoch"})
        self.plateaus = Plateaus()
        self._frozen = self._within = False
        self._look_ahead: LookAhead | None = None
        named = weighting if isinstance(weighting, (str, Mapping)) else self.player.weighting.title()
        self._run_directory = LazyRunDirectory(
            log_dir, record_every, self.player, named, accumulate=accumulate, total_steps=total_steps
        )
        if log_dir is not None:
            self.player.listener = self._run_directory.record
            self.player.watch_gradients(Cadence(probe_every).due if probe_every else None)

    @property
    def clock(self) -> Clock:
        """The place in training: optimiser steps so far, epoch, progress and plateaus."""
        step = self.calls // self.accumulate
        progress = min(1.0, step / self.total_steps) if self.total_steps else 0.0
        unknown = self._unsaid | (frozenset() if self.total_steps else {"progress"})
        return Clock(step, self.epoch, progress, self.plateaus.count, unknown)

    @property
    def weights(self) -> dict[str, float]:
        """The effective weights of the last step by loss name; reading them waits for the device."""
        return dict(zip(self.player.terms.names, self.player.last.tolist(), strict=True))

    @property
    def notes(self) -> Notes:
        """Further numbers to record with the next step: ``balancer.notes.scalar("in_use", share)``."""
        return self.player.notes

    @property
    def skipped(self) -> int:
        """How many batches were left out because a loss was not finite."""
        return self.player.nonfinite.skipped

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, for weightings that compare epochs."""
        self.epoch, self._unsaid = epoch, frozenset()

    @uncompiled
    def forward(
        self,
        losses: Losses | LossTable,
        anchor: Anchor | None = None,
        scale: Tensor | None = None,
        index: Tensor | None = None,
        keys: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The total to call ``backward`` on.

        ``losses`` are scalars, or one value for each sample, by name; a loss that is ``None`` or missing is absent.
        ``anchor`` is where gradients are compared, if the weighting needs them, or a :meth:`fork`. ``scale`` is the
        factor of a gradient scaler (``scaler.scale(torch.ones(()))``), for float16; a fork does not need it. For sample
        weightings, ``index`` [B] says which training samples these are, and ``keys`` holds more of them, [B] by name.
        """
        table = LossTable.of(losses, anchor, index, keys)
        for name in table.entries:
            if name not in self.player.terms.names:
                raise unknown("loss", name, self.player.terms.names)
        self._follow(table)
        if self._frozen or not self.training or not torch.is_grad_enabled():
            return self.player.frozen(table, self.clock if self.training else None)
        clock = self.clock
        if not self._within and self.player.looks_ahead(clock.step):
            raise SignalError(
                f"Weighting {self.player.weighting.title()!r} needs the losses again after the step, but the step is "
                "not inside a look-ahead. Write `with balancer.lookahead(network, optimizer, train=losses_of):` "
                "around it."
            )
        weighed = self.player.step(table, clock, scale, self.accumulate > 1)
        self.calls += 1
        if self.calls % self.accumulate == 0 and not self._within:
            self.player.close_window()
        return self.player.last.new_zeros((), requires_grad=True) if weighed is None else weighed.total

    def fork(self, features: Tensor, at: str = "features") -> Fork:
        """A copy of ``features`` for each loss, so that the one backward of the total gives K gradients.

        Compute each loss from its own copy and pass the fork as ``anchor``. The K gradients meet at the features,
        which get the gradient that the weighting combines from them; this costs one backward. :attr:`weights` and the
        record hold the weights of that gradient as soon as the backward is done. Heads are not weighted: each
        gets the gradient of its own loss with its base weight. Losses that depend neither on a copy nor on the
        features (a KL term) keep their base weight too.

        With ``at="parameters"`` the gradients meet at all parameters that the features are computed from. This is
        exact, but costs K passes through the trunk and memory for K of its gradients.

        >>> trunk, heads = torch.nn.Linear(2, 3), {name: torch.nn.Linear(3, 1) for name in ("depth", "normals")}
        >>> balancer = Balancer(list(heads), "graddrop")
        >>> fork = balancer.fork(trunk(torch.ones(4, 2)))
        >>> total = balancer({name: head(fork[name]).square() for name, head in heads.items()}, anchor=fork)
        >>> total.backward()
        """
        require(at in ("features", "parameters"), "`at` must be 'features' or 'parameters'", f"at={at!r}")
        return self.player.fork(features, at == "parameters")

    def validated(self, value: float, goal: str = "min") -> None:
        """Tell schedules by plateau the ``value`` of a validation metric; ``plateaus`` holds their patience."""
        self.plateaus.see(value, goal)

    def temper(
        self, name: str, prediction: Tensor, index: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """``prediction`` [B, ...] divided by the temperatures of its samples, to compute the loss ``name`` from.

        Only a sample weighting with temperatures (``data_parameters``) changes it.
        """
        if self.player.samples is None or not self.training:
            return prediction
        table = LossTable({name: Entry(prediction.detach(), labels=labels)}, index=index)
        self._follow(table)
        return self.player.samples.temper(name, prediction, table, self.clock)

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
        optimizer: Optimizer | None = None,
        *,
        train: LossesOf,
        held_out: LossesOf | None = None,
        primary: Sequence[str] = (),
        implicit: Implicit | None = None,
    ) -> Iterator[None]:
        """Put it around a step (forward, backward, ``optimizer.step()``) for weightings that look ahead.

        ``train(network)`` is called again after the step, with the same random numbers: it must compute the losses of
        the same batch. Weightings that learn from held-out data also need ``held_out(network)``, the losses of a batch
        that is not trained on. All of them but ``coba`` need the optimizer (SGD, Adam or AdamW) and minimise the
        base-weighted sum of the ``primary`` losses (all by default). Gradients must not be zeroed before the end. Both
        functions must have no other effect; buffers and random generators are put back. With ``accumulate``, the
        gradient must be the micro-batches' mean. ``implicit`` judges weights by their effect on settled parameters.

                >>> net, x, held = torch.nn.Linear(2, 2), torch.ones(3, 2), torch.zeros(3, 2)
                >>> losses_of = lambda net, x=x: {"a": net(x)[:, 0].square(), "b": net(x)[:, 1].square()}
                >>> balancer, optimizer = Balancer(["a", "b"], "auto_lambda"), torch.optim.SGD(net.parameters(), 0.1)
                >>> with balancer.lookahead(net, optimizer, train=losses_of, held_out=lambda net: losses_of(net, held)):
                ...     balancer(losses_of(net)).backward()
                ...     optimizer.step()
        """
        network, step, before = bare(network), self.clock.step, self.calls
        needs = self.player.looks_ahead(step)
        aligns, foresees = Need.ALIGNMENT in needs, self.player.foresees and self.training and not self._frozen
        if (aligns and optimizer is None) or ((needs & HELD_OUT_DATA or foresees) and held_out is None):
            raise incomplete_look_ahead(self.player, needs)
        if self._look_ahead is None or self._look_ahead.network is not network:
            self._look_ahead = LookAhead(self.player, network, primary, self.accumulate, implicit=implicit)
        look_ahead = self._look_ahead
        if aligns or foresees:
            check_network(network)
        moment = Moment.now(next(network.parameters()).device)
        again = lambda: LossTable.of(train(network))  # noqa: E731
        held = None if held_out is None else lambda: LossTable.of(held_out(network))
        if foresees and held is not None:
            look_ahead.foresee(step, moment, again, held)
        optimizer_step: OptimizerStep | None
        self._within = True
        try:
            with observe_step(optimizer) if aligns and optimizer is not None else nullcontext() as optimizer_step:
                yield
        except BaseException:
            self._within, self.calls = False, before - before % self.accumulate
            look_ahead.drop()
            raise
        if self.calls > before and len(self.player.window.steps) > len(look_ahead):
            look_ahead.note(moment, again)
        if self.calls % self.accumulate:
            return
        self._within = False
        look_ahead.look(step, optimizer_step, held)
        if optimizer_step is None or optimizer_step:
            self.player.commit()
        else:
            self.player.forget()

    def close(self) -> None:
        """Write the last rows, ``summary.json`` and ``report.html``; raise if a loss was not finite. Or use `with`."""
        self._run_directory.close(self.clock)
        self.player.check()

    def measured(self, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str] | None = None) -> None:
        """Record metrics on validation data, by name; ``goals`` says ``"min"`` or ``"max"`` for each.

        They become a row of ``metrics.csv``, and the last ones are in the summary. Without ``log_dir`` nothing happens.
        """
        self._run_directory.measured(self.clock, metrics, goals or {})

    def get_extra_state(self) -> Tensor:
        """Counters for ``state_dict``, as a tensor, since safetensors and sharded checkpoints hold only tensors."""
        return torch.tensor([self.calls, self.epoch, *self.plateaus.state().values()], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Counters from ``state_dict``."""
        calls, epoch, *plateaus = state.tolist()
        self.calls, self.epoch = int(calls), int(epoch)
        self.plateaus.load(dict(zip(self.plateaus.state(), plateaus, strict=True)))

    def _follow(self, table: LossTable) -> None:
        entry = next((e for name in table.entries if (e := table.entry(name)) is not None), None)
        if entry is not None and entry.values.device != self.player.last.device:
            self.to(entry.values.device)

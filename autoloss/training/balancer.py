"""The public entry for people who own their loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import SignalError, require, unknown
from autoloss.core.loss import Loss
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.table import Anchor, Entry, Losses, LossTable
from autoloss.core.tensors.compile import uncompiled
from autoloss.core.weighting import Weighting
from autoloss.probe.fork import Fork
from autoloss.training.record.cadence import ProbedTogether
from autoloss.training.record.lazy_start import ClosedAtEnd, LazyRunDirectory
from autoloss.training.step.build import build_sample_weighting, build_weighting
from autoloss.training.step.item_counts import Items
from autoloss.training.step.loss_numbers import numbers_in
from autoloss.training.step.notes import Notes
from autoloss.training.step.own_loop import OwnLoop
from autoloss.training.step.player import Player


class Balancer(ClosedAtEnd, OwnLoop):
    """Turns several losses into one total, with weights that it learns.

    ``total = sum_k base_k * w_k * L_k`` with ``w`` from ``weighting``: a registered name, a mapping
    ``{"name": "gradnorm", "alpha": 1.0}``, or a :class:`Weighting`.

    Args:
        losses: the names of the losses, in the order of every [K] tensor; or their base weights by name.
        weighting: the weighting that gives the weights; ``auto`` needs no numbers, and follows the losses' values
            where there is no anchor.
        base: factors of the weights, by loss (or group) name: numbers, or schedules as ``"linear(0,1)"``.
        groups: losses whose base-weighted sum is balanced as one, by group name.
        unbalanced: losses that keep their base weight; the weighting does not see them.
        total_steps: optimiser steps of the whole training; schedules need them for ``progress``.
        accumulate: how many calls make one optimiser step; ``None`` if they are not counted, because :meth:`watch` or
            :meth:`stepped` says when a step is made.
        on_nonfinite: ``"raise"``, or ``"skip"`` to leave a batch out and count it.
        log_dir: the directory for the record, TensorBoard events and, in :meth:`close`, the report; none by default. It
            belongs to one balancer at a time, and holds no record of other losses or of another weighting. Of
            several processes that train together the first one (rank 0) writes.
        record_every: how many steps lie between two rows of the record; ever more in a long training.
        sample_weighting: weighs the samples of losses with one value for each sample; given like ``weighting``.
        samples: how many samples the training data have, for sample weightings that keep a number for each.
        probe_every: if the weighting measures no gradients, how many steps lie between two measurements of them for the
            record alone; 0 measures none. All processes that train together must be given the same number.
        learned: losses with numbers to learn, by the name of what they give: ``{"digit": build("loss", {"name":
            "focal", "gamma": "learned(2.0, 0, 5)"})}``. The numbers are set in them after each :meth:`lookahead`, and
            while its ``held_out`` is called they are those that they began with: it should use fixed losses.
        constraints: bounds that a multiplier keeps, by the name of a loss, or of a metric that :meth:`measured` is
            given: ``{"kl": {"max": 0.1}, "left_error": {"max": 0.05, "loss": "left"}}``; see :class:`Constraints`.

    >>> balancer = Balancer(["depth", "kl"], weighting="equal", base={"kl": 0.1})
    >>> balancer({"depth": torch.tensor(1.0), "kl": torch.tensor(2.0)})
    tensor(1.2000)
    """

    def __init__(
        self,
        losses: Sequence[str] | Mapping[str, float | str],
        weighting: str | Mapping[str, Any] | Weighting = "auto",
        *,
        base: Mapping[str, float | str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        total_steps: int | None = None,
        accumulate: int | None = 1,
        on_nonfinite: str = "raise",
        log_dir: str | Path | None = None,
        record_every: int = 10,
        sample_weighting: str | Mapping[str, Any] | SampleWeighting = "uniform",
        samples: int | None = None,
        probe_every: int = 0,
        learned: Mapping[str, Loss] | None = None,
        constraints: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        require(probe_every >= 0, "`probe_every` must not be negative", f"probe_every={probe_every}")
        good = isinstance(losses, Iterable) and not isinstance(losses, Tensor)
        require(good, "Losses must be given by name", f"they are {losses!r}", 'Write ["depth", "normals"].')
        sampled = build_sample_weighting(sample_weighting)
        self.player = Player(
            losses,
            build_weighting(weighting),
            base,
            groups,
            unbalanced,
            on_nonfinite,
            sampled,
            samples,
            numbers=numbers_in(learned or {}, tuple(losses)),
            constraints=constraints,
        )
        self.start(accumulate, total_steps)
        named = weighting if isinstance(weighting, (str, Mapping)) else self.player.weighting.title()
        self._run_directory = LazyRunDirectory(
            log_dir, record_every, self.player, named, accumulate=accumulate, total_steps=total_steps
        )
        if log_dir is not None:
            self.player.listener = self._run_directory.record
        if probe_every:
            self.player.watch_gradients(ProbedTogether(probe_every, log_dir is not None))

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

    @uncompiled
    def forward(
        self,
        losses: Losses | LossTable,
        anchor: Anchor | None = None,
        scale: Tensor | None = None,
        index: Tensor | None = None,
        keys: Mapping[str, Tensor] | None = None,
        items: Items | None = None,
    ) -> Tensor:
        """The total to call ``backward`` on.

        ``losses`` are scalars, or one value for each sample, by name; a loss that is ``None`` or missing is absent.
        ``anchor`` is where gradients are compared, if the weighting needs them, or a :meth:`fork`. ``scale`` is the
        factor of a gradient scaler (``scaler.scale(torch.ones(()))``), for float16; a fork does not need it. For sample
        weightings, ``index`` [B] says which training samples these are, and ``keys`` holds more of them, [B] by name.

        ``items`` is how many items (samples, tokens) the whole accumulation window has, over all processes: one number,
        or one for each loss by name. Then the total is this micro-batch's part of the window's mean: do not divide it.
        """
        table = LossTable.of(losses, anchor, index, keys)
        for name in table.entries:
            if name not in self.player.terms.names:
                raise unknown("loss", name, self.player.terms.names)
        self._follow(table)
        self._around.drop_skipped()
        if self._frozen or not self.training or not torch.is_grad_enabled() or self._steps.repeats():
            return self.player.frozen(table, self.clock if self.training else None, items)
        self._continue(self.player.last.device)
        clock = self.clock
        if not self._around.within and self.player.looks_ahead(clock.step):
            raise SignalError(
                f"{self.player.learner} needs the losses again after the step, but the step is "
                "not inside a look-ahead. Write `with balancer.lookahead(network, optimizer, train=losses_of):` "
                "around it."
            )
        weighed = self.player.step(table, clock, scale, self._steps.accumulates, items)
        self.calls += 1
        self._steps.called(None if weighed is None else weighed.total, scale)
        if self._steps.complete and not self._around.within:
            self._close()
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

    def close(self) -> None:
        """Write the last rows, ``summary.json`` and ``report.html``; raise if a loss was not finite. Or use `with`."""
        self._run_directory.close(self.clock)
        self.player.check()

    def measured(self, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str] | None = None) -> None:
        """Record metrics on validation data, by name; ``goals`` says ``"min"`` or ``"max"`` for each.

        They become a row of ``metrics.csv``, and the last ones are in the summary. Bounds of metrics learn from them,
        which all processes that train together must be given. Without either nothing happens.
        """
        self.player.see_metrics(metrics)
        self._run_directory.measured(self.clock, metrics, goals or {})

    def _follow(self, table: LossTable) -> None:
        entry = next((e for name in table.entries if (e := table.entry(name)) is not None), None)
        if entry is not None and entry.values.device != self.player.last.device:
            self.to(entry.values.device)

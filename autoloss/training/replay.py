"""What a weighting would have chosen on a run that was trained with another one."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.core.need import GRADIENTS, OUTCOME, Need
from autoloss.core.signals import AT_ANCHOR
from autoloss.core.surgery import Surgery
from autoloss.core.table import Reduced
from autoloss.core.tensors.state import commit
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe.gradients import Measured
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.training.step.weigh import see


def replay(record: RunRecord, weighting: Weighting, player: str = "") -> tuple[Array, dict[str, Array]]:
    """The steps that can be replayed, and the effective weights [T] of each loss at them, by its name.

    A weighting is a function of its signals, and the record holds them: neither model nor data are needed. Only
    recorded steps are replayed, so a weighting with state is replayed exactly only if every step was recorded
    (``record.every=1``). The losses are those of the run: with other weights the model would have trained otherwise.

    Raises :class:`ConfigError` for a weighting that needs what no record holds.
    """
    part = _part(record, player)
    terms = Terms(part.losses, part.given_base, part.groups)
    weighting = weighting.bind(terms.units)
    anchored = _check(part, weighting)
    kept = torch.tensor([unit in part.unbalanced for unit in terms.units])
    columns = _Columns(part, terms, weighting.needs if anchored else weighting.needs & ~weighting.optional)
    steps, found = [], []
    for row, step in enumerate(record.steps.astype(int).tolist()):
        clock = Clock(step, int(record.columns["epoch"][row]), float(record.columns["progress"][row]))
        terms.follow(clock.progress)
        weights = _step(columns, weighting, terms, clock, row, kept, anchored)
        if weights is not None:
            steps.append(step)
            found.append(weights.numpy())
    table = np.array(found, dtype=float).reshape(len(found), len(terms.names))
    return np.array(steps, dtype=float), {part.title(name): table[:, i] for i, name in enumerate(terms.names)}


class _Columns:
    """The record as tensors [T, ...], and the signals at the anchor that they hold."""

    def __init__(self, part: PlayerRecord, terms: Terms, needs: Need) -> None:
        size, self.length, self.part = len(terms.units), len(part.total), part
        self.raw = _stack(part.of("loss_raw"), terms.names, self.length)
        self.cosines = torch.eye(size).expand(self.length, size, size).clone()
        for (a, b), x in part.cosines.items():
            i, j = terms.units.index(a), terms.units.index(b)
            self.cosines[:, i, j] = self.cosines[:, j, i] = torch.from_numpy(x).float()
        self.reached = self.of("grad_norm").isfinite()
        self.signals = {signal: signal.replayed(self) for signal in AT_ANCHOR if signal.need in needs}

    def of(self, kind: str) -> Tensor:
        """The columns of ``kind`` by unit, [T, K]; NaN where nothing was recorded."""
        return _stack(self.part.of(kind, self.part.units), self.part.units, self.length)

    def measured(self, row: int, needs: Need) -> Measured | None:
        """What was measured at a step; ``None`` if that is not all that is needed there."""
        reached, found = self.reached[row], {}
        if not reached.any():
            return None
        for signal, values in self.signals.items():
            if signal.need in needs:
                value = signal.map(itemgetter(row), values)
                if not all((x.isfinite() | ~reached).all() for x in signal.tensors(value).values()):
                    return None
                found[signal.name] = signal.map(lambda x: x.nan_to_num(0.0), value)
        return Measured(reached, found)


def _step(
    columns: _Columns, weighting: Weighting, terms: Terms, clock: Clock, row: int, kept: Tensor, anchored: bool
) -> Tensor | None:
    """The effective weights at the recorded step ``row``; the units ``kept`` [K] have their base weights."""
    raw, needs = columns.raw[row], weighting.needs_here(clock.step, anchored)
    present = raw.isfinite()
    if not present.any():
        return None
    losses = Reduced((None,) * len(raw), raw.nan_to_num(0.0), present.float(), present)
    values, _, here = terms.gather(losses)
    measured = columns.measured(row, needs) if needs & GRADIENTS else None
    if needs & GRADIENTS and measured is None:
        return None
    unbalanced = kept if measured is None else kept | ~measured.reached
    signals = see(terms, clock, values, here & ~unbalanced, measured)
    with torch.no_grad():
        weights = terms.spread(torch.where(unbalanced, 1.0, weighting(signals).float()))
        commit(weighting, lambda: weighting.update(signals), signals.finite(), signals.present)
    return torch.where(present, weights, float("nan"))


def _stack(table: dict[str, Array], names: tuple[str, ...], steps: int) -> Tensor:
    nothing = np.full(steps, np.nan)
    return torch.from_numpy(np.stack([table.get(name, nothing) for name in names], 1)).float()


def _part(record: RunRecord, player: str) -> PlayerRecord:
    if not len(record.steps):
        raise ConfigError(f"A replay needs recorded steps, but {record.directory} has none.")
    if player not in record.parts:
        names = ", ".join(repr(name) for name in record.parts)
        raise ConfigError(f"A replay needs one player, but {player!r} is none of {names}. Set player=NAME.")
    return record.parts[player]


def _check(part: PlayerRecord, weighting: Weighting) -> bool:
    """Whether the record has the gradients that ``weighting`` compares; raises if it cannot do without them."""
    title = weighting.title()
    if isinstance(weighting, Surgery):
        raise ConfigError(f"A replay needs weights to draw, but {title!r} combines gradients themselves.")
    if weighting.needs & OUTCOME:
        raise ConfigError(
            f"A replay must have all that a weighting needs, but {title!r} needs what is measured after a step, and a "
            "record has what is measured before it."
        )
    if Need.KERNEL in weighting.needs:
        raise ConfigError(
            f"A replay must have all that a weighting needs, but {title!r} needs kernels, which no record has."
        )
    anchored = True
    for signal in AT_ANCHOR:
        if signal.need in weighting.needs and not all(_was_recorded(part, kind) for kind in signal.kinds):
            if signal.need not in weighting.optional:
                raise ConfigError(f"Replaying {title!r} {signal.unrecorded}")
            anchored = False
    return anchored


def _was_recorded(part: PlayerRecord, kind: str) -> bool:
    if kind == "grad_cosine":
        return len(part.units) == 1 or bool(part.cosines)
    return any(np.isfinite(x).any() for x in part.of(kind, part.units).values())

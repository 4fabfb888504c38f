"""What a weighting would have chosen on a run that was trained with another one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError
from autoloss.core.need import GRADIENTS, OUTCOME, Need
from autoloss.core.signals import Stats
from autoloss.core.surgery import Surgery
from autoloss.core.table import Reduced
from autoloss.core.tensors.state import commit
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe.gradients import Measured
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.training.record.column_kinds import STATS
from autoloss.training.step.weigh import see


def replay(record: RunRecord, weighting: Weighting, player: str = "") -> tuple[Array, dict[str, Array]]:
    """The steps at which ``weighting`` had what it needs, and the effective weights of each loss there.

    A weighting is a function of what was measured, and that was recorded: neither model nor data are needed. It sees
    the recorded steps alone, so one with a memory replays exactly only where every step was (``record.every=1``). The
    losses are those of the run: under other weights the model would have gone elsewhere.

    Raises :class:`ConfigError` for a weighting that needs what no record holds.
    """
    part = _part(record, player)
    terms = Terms(part.losses, part.base, part.groups)
    weighting = weighting.bind(terms.units)
    _check(part, weighting)
    columns = _Columns(part, terms)
    steps, found = [], []
    for row, step in enumerate(record.steps.astype(int).tolist()):
        clock = Clock(step, int(record.columns["epoch"][row]), float(record.columns["progress"][row]))
        weights = _step(columns, weighting, terms, clock, row)
        if weights is not None:
            steps.append(step)
            found.append(weights.numpy())
    table = np.array(found, dtype=float).reshape(len(found), len(terms.names))
    return np.array(steps, dtype=float), {part.title(name): table[:, i] for i, name in enumerate(terms.names)}


class _Columns:
    """The record as tensors [T, ...]."""

    def __init__(self, part: PlayerRecord, terms: Terms) -> None:
        size, steps = len(terms.units), len(part.total)
        self.raw = _stack(part.of("loss_raw"), terms.names, steps)
        norms = _stack(part.grad_norms, terms.units, steps)
        cosines = torch.eye(size).expand(steps, size, size).clone()
        for (a, b), x in part.cosines.items():
            i, j = terms.units.index(a), terms.units.index(b)
            cosines[:, i, j] = cosines[:, j, i] = torch.from_numpy(x).float()
        self.reached = norms.isfinite()
        self.gram = (norms[:, :, None] * norms[:, None, :] * cosines).nan_to_num(0.0)
        self.stats = {key: _stack(part.of(kind, terms.units), terms.units, steps) for kind, key in STATS.items()}

    def measured(self, row: int, needs: Need) -> Measured | None:
        """What was found at a step, if it holds all that is needed there."""
        if not self.reached[row].any():
            return None
        stats = {key: x[row] for key, x in self.stats.items()}
        if Need.STATS in needs and not all((x.isfinite() | ~self.reached[row]).all() for x in stats.values()):
            return None
        kept = Stats(**{key: x.nan_to_num(0.0) for key, x in stats.items()}) if Need.STATS in needs else None
        return Measured(self.reached[row], self.gram[row] if Need.GRAM in needs else None, kept)


def _step(columns: _Columns, weighting: Weighting, terms: Terms, clock: Clock, row: int) -> Tensor | None:
    raw, needs = columns.raw[row], weighting.needs_at(clock.step)
    present = raw.isfinite()
    if not present.any():
        return None
    losses = Reduced((None,) * len(raw), raw.nan_to_num(0.0), present.float(), present)
    values, _, here = terms.gather(losses)
    measured = columns.measured(row, needs) if needs & GRADIENTS else None
    if needs & GRADIENTS and measured is None:
        return None
    apart = torch.zeros_like(here) if measured is None else ~measured.reached
    signals = see(terms, clock, values, here & ~apart, measured)
    with torch.no_grad():
        weights = terms.spread(torch.where(apart, 1.0, weighting(signals).float()))
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


def _check(part: PlayerRecord, weighting: Weighting) -> None:
    title = weighting.title()
    if isinstance(weighting, Surgery):
        raise ConfigError(f"A replay needs weights to draw, but {title!r} combines gradients themselves.")
    if weighting.needs & OUTCOME:
        raise ConfigError(f"A replay has what was measured before a step, but {title!r} needs what came after it.")
    known = [x for x in part.grad_norms.values() if np.isfinite(x).any()]
    if Need.GRAM in weighting.needs and (not known or (len(part.units) > 1 and not part.cosines)):
        raise ConfigError(
            f"Replaying {title!r} needs gradients, but none were recorded. Train with record.probe_every=50, or with a "
            "weighting that compares them."
        )
    if Need.STATS in weighting.needs and not part.of(next(iter(STATS)), part.units):
        raise ConfigError(
            f"Replaying {title!r} needs statistics of gradients, but none were recorded. Train with "
            "weighting=equal record.probe_every=50."
        )

"""Weights that follow how far each loss is above that of a reference run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.io.csv_cells import unescaped
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting

RECORD, TAG = "trajectory.csv", "loss_raw/"
END = 0.1  # share of the record that counts as its end


class Excess(Weighting):
    """Weighs losses by how far they are above a reference: ``a_k <- a_k e^(rate max(L_k - R_k, 0))``, summed to 1.

    R_k is the loss that a reference run ended with: what can be reached of it. A loss that is high because it is noisy
    has a high R_k too and gets no weight for that. Each step mixes a with a ``floor`` share of equal weights;
    the weights are a times the number of present losses. Without a reference R is 0: the largest losses count.

    Args:
        reference: the directory of a run with the same losses; R_k is its mean over the last tenth of the record.
        losses: R_k by loss name instead; 0 for a loss that is not named.
        rate: how fast the weights follow, above 0; 1 in the paper, where losses are in nats.
        floor: share of equal weights, in [0, 1); 0.001 in the paper.

    The paper compares with the reference model's loss of the very same tokens, and clips each token; here losses are
    means of groups, and R is a number. A step uses the weights that were learned before it, so that accumulation is
    exact. The paper then trains anew with the mean of the weights; ``autoloss distill RUN`` gives a schedule of them.
    """

    score: Tensor
    reference: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant"})
    search_space = {"rate": Interval(1e-3, 1.0, log=True)}
    use = "Groups or domains that differ in how low their loss can get: none should lag behind what it could reach."
    avoid = "No reference run; losses of unlike scale."
    citation = "Xie et al.: DoReMi, NeurIPS 2023, arXiv:2305.10429"

    def __init__(
        self,
        reference: str | None = None,
        losses: Mapping[str, float] = {},
        rate: float = 0.1,
        floor: float = 0.001,
    ) -> None:
        super().__init__()
        require(rate > 0, "`rate` must be above 0", f"rate={rate}")
        require(0 <= floor < 1, "`floor` must lie in [0, 1)", f"floor={floor}")
        both = reference is not None and len(losses) > 0
        require(not both, "A reference must be a run or numbers", "both are given", "Leave out one.")
        self.rate, self.floor, self.source = rate, floor, reference
        self.given = dict(losses) if reference is None else _ends(Path(reference))

    def allocate(self, size: int) -> None:
        missing = [name for name in self.names if name not in self.given]
        if self.source is not None and missing:
            raise ConfigError(
                f"The reference must be a run with the same losses, but {self.source} has {', '.join(self.given)} and "
                f"not {', '.join(missing)}. Train it with the same problem and groups."
            )
        known = {name: value for name, value in self.given.items() if self.source is None or name in self.names}
        self.register_buffer("reference", self.per_loss(known, missing=0.0), persistent=False)
        self.add_state("score", torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return signals.softmax(self.score) * signals.count

    def update(self, signals: Signals) -> None:
        excess = (signals.values - self.reference).clamp(min=0)
        weights = torch.lerp(signals.softmax(self.score + self.rate * excess), 1 / signals.count, self.floor)
        # Their mean stays, so that a loss that is absent comes back with the share that it had.
        log = weights.clamp(min=1e-30).log()
        self.score.copy_(log + signals.mean(self.score) - signals.mean(log))


def _ends(directory: Path) -> dict[str, float]:
    """The losses at the end of the run in ``directory``, by name; without players' names."""
    must = "`reference` must be the directory of a run"
    path = directory / RECORD
    if not path.is_file():
        raise ConfigError(f"{must}, but there is no file {str(path)!r}.")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tags = [tag for tag in (rows[0] if rows else ()) if tag and unescaped(tag).startswith(TAG)]
    found: dict[str, float] = {}
    for tag in tags:
        try:
            values = [float(row[tag]) for row in rows if row[tag] not in (None, "")]
        except ValueError as error:
            raise ConfigError(f"{must}, but {str(path)!r} cannot be read: {error}.") from error
        known = [value for value in values if value == value]
        if known:
            name = unescaped(tag).removeprefix(TAG)
            found[name.rpartition("/")[2]] = fmean(known[-max(1, round(END * len(known))) :])
    require(len(found) > 0, must, f"{str(path)!r} has no losses")
    return found

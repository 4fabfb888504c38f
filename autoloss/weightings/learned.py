"""A small network that gives the weights, learned from held-out data while the model trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import EXPORT
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.tensors.derivatives import jacobian
from autoloss.core.weighting import Weighting
from autoloss.weightings.auto_lambda import uphill

FEATURES = 5
DAMPING, FORGETTING = 0.1, 0.02


class Learned(Weighting):
    """Learns a rule, not numbers: a network that gives each loss its weight from how that loss develops.

    The inputs x_k of loss k: its logarithm; the logarithm minus its slow average (the change) and minus its
    first value (the ratio to the start); the norm of its gradient at the anchor relative to the others'
    (``norms``); and progress. All of them are bounded. ``h_k = tanh(A x_k + a)``, pooled over losses
    ``h = mean_k h_k``, and ``w = K softmax_k(c tanh(B [h_k, h] + b))``. All losses share these parameters,
    so that one rule serves any K. It starts at equal weights.

    Each loss has a target logit. After each step Adam moves the target logits up the held-out gradient,
    ``w_k (t_k - sum_j w_j t_j / K)`` with ``t_k = -d L_held(p') / d w_k``, the exact hypergradient of the
    held-out objective (as ``auto_lambda`` does). The rule then takes the damped Gauss-Newton step towards them,
    ``J' (J J' + mu I)^-1 r``: r is the target logits minus the rule's logits, J the derivative of the rule's
    logits with respect to its parameters, and mu a tenth of the mean diagonal of ``J J'``. The target logits
    also move a fiftieth of the way to the rule's logits in each step. So losses with similar inputs share
    their weights, losses with different inputs do not disturb each other, and the weights stay near where
    they are once the held-out gradient is 0.
    Ours departs from Meta-Weight-Net here, whose Adam increases ``sum_k t_k w_k`` with respect to the rule's
    parameters: with a loss of pure noise that rule saturated on one seed in five, or gave up a real loss too.

    Args:
        lr: learning rate of the target logits' Adam, above 0.
        width: hidden units, at least 1.
        norms: whether gradient norms at the anchor are measured and used.
        seed: of the initial parameters.
        load: where a trained rule is taken from: the directory of a run with ``learned``, or the
            ``weighting.pt`` in it. The other run may have had other losses, and another number of them.
            Its width and ``norms`` are used, whatever is given here.
        frozen: leave the rule as it is loaded. Nothing is measured then, and a step costs what a plain one does.
    """

    rule: Tensor
    first: Tensor
    slow: Tensor
    seen: Tensor
    aim: Tensor
    needs = Need.VALUES | Need.ALIGNMENT
    claims = frozenset({"sums_to_count", "permutation_equivariant"})
    search_space = {"lr": Interval(1e-3, 1e-1, log=True)}
    use = "A rule that should be used again: on a longer run, another problem, another number of losses."
    avoid = (
        "No data can be held out, or a step must not cost as much as three. For losses of unlike scale equal weights "
        "are a poor start: wrap it in from_auto."
    )
    citation = "ours; a rule learned on held-out data as in Shu et al.: Meta-Weight-Net, NeurIPS 2019, arXiv:1902.07379"

    def __init__(
        self,
        lr: float = 0.06,
        width: int = 16,
        norms: bool = False,
        seed: int = 0,
        load: str | None = None,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(1 <= width <= 4096, "`width` must lie in [1, 4096]", f"width={width}")
        require(
            load is not None or not frozen, "A frozen rule must be loaded", "load=null", "Set weighting.load=RUN_DIR."
        )
        self.loaded = None if load is None else _read(load)
        if self.loaded is not None:
            width, norms = self.loaded["width"], self.loaded["norms"]
        measured = Need.GRAM if norms else Need.VALUES
        self.needs = Need.VALUES | measured | (Need.VALUES if frozen else Need.ALIGNMENT)  # type: ignore[misc]
        self.width, self.norms, self.seed, self.frozen = width, norms, seed, frozen
        self.shapes = ((width, FEATURES), (width,), (width, 2 * width), (width,), (width,))
        # Alignments contain the model's learning rate: they may be far below Adam's usual eps.
        self.adam = AdamState(lr, eps=1e-15)

    def allocate(self, size: int) -> None:
        self.add_state("rule", self._initial())
        self.add_state("first", torch.zeros(size), axes=1)
        self.add_state("slow", torch.zeros(size), axes=1)
        self.add_state("seen", torch.zeros(size), axes=1)
        self.add_state("aim", torch.zeros(size), axes=1)
        self.adam.allocate(size)
        if self.loaded is not None:
            self.rule.copy_(self.loaded["rule"])

    def export(self) -> dict[str, Any]:
        """The rule, without what belongs to these losses."""
        return {"rule": self.rule.detach().cpu().clone(), "width": self.width, "norms": self.norms}

    def forward(self, signals: Signals) -> Tensor:
        return signals.softmax(self._logits(self.rule, signals)).float() * signals.count

    def update(self, signals: Signals) -> None:
        if not self.frozen:
            self._learn(signals)
        log = _log(signals.values)
        known = self.seen > 0
        self.first.copy_(torch.where(known, self.first, log))
        self.slow.copy_(torch.where(known, torch.lerp(self.slow, log, 0.1), log))
        self.seen.fill_(1.0)

    def _learn(self, signals: Signals) -> None:
        size, here = len(self.aim), signals.present
        logits, slopes = jacobian(lambda rule: torch.where(here, self._logits(rule, signals), 0.0), self.rule.double())
        aim = torch.where(self.seen > 0, torch.lerp(self.aim.double(), logits, FORGETTING), logits).float()
        self.adam.step(aim, -uphill(logits, signals).float())
        self.aim.copy_(aim - signals.mean(aim))
        lacking = torch.where(here, self.aim - logits, 0.0)
        gram = slopes @ slopes.T
        # Of the logits, not of their differences: losses with equal inputs have none, and steps would be unbounded.
        damping = DAMPING * signals.mean(gram.diagonal()) + 1e-8
        factor = torch.linalg.cholesky_ex(gram + damping * torch.eye(size, device=gram.device)).L
        self.rule += (slopes.T @ torch.cholesky_solve(lacking[:, None], factor)[:, 0]).float()

    def _logits(self, rule: Tensor, signals: Signals) -> Tensor:
        into, shift, pooling, pooled_shift, out = _parts(rule.double(), self.shapes)
        here = signals.present
        hidden = torch.tanh(self._features(signals) @ into.T + shift)
        pooled = torch.where(here[:, None], hidden, 0.0).sum(0) / signals.count
        both = torch.cat([hidden, pooled.expand_as(hidden)], dim=1)
        return torch.tanh(both @ pooling.T + pooled_shift) @ out

    def _features(self, signals: Signals) -> Tensor:
        """[K, FEATURES], each from about -1 to 1; in float64, so that the order of sums hardly shows in the weights."""
        log, known = _log(signals.values.double()), self.seen > 0
        nothing = torch.zeros_like(log)
        norm = nothing
        if self.norms:
            norm = _log(signals.gram.double().diagonal().clamp(min=0)) / 2
            norm = norm - signals.mean(norm)
        parts = (
            log / 5,
            torch.where(known, log - self.slow, nothing),
            torch.where(known, log - self.first, nothing) / 2,
            norm / 2,
            nothing + (2 * signals.progress - 1),
        )
        return torch.tanh(torch.stack(parts, dim=1))

    def _initial(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        parts = [torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for shape in self.shapes]
        parts[1], parts[3], parts[4] = (torch.zeros(self.width) for _ in range(3))
        return torch.cat([part.reshape(-1) for part in parts])


def _read(load: str) -> dict[str, Any]:
    path = Path(load)
    path = path / EXPORT if path.is_dir() else path
    must = "`load` must name a run with weighting=learned that has ended"
    if not path.is_file():
        raise ConfigError(f"{must}, but there is no file {str(path)!r}.")
    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:
        raise ConfigError(f"{must}, but {str(path)!r} cannot be read: {str(error).splitlines()[0]}.") from error
    whole = isinstance(found, dict) and {"rule", "width", "norms"} <= set(found)
    require(whole, must, f"{str(path)!r} holds something else")
    return dict(found)


def _log(values: Tensor) -> Tensor:
    # Losses below 0 have no logarithm: the rule sees their size, and not their sign.
    return values.abs().clamp(min=1e-12, max=1e12).log()


def _parts(rule: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [part.view(shape) for part, shape in zip(rule.split(sizes), shapes, strict=True)]

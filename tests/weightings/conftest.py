from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.tensors.state import commit
from autoloss.core.weighting import Weighting


@pytest.fixture(scope="session")
def signals_of() -> Callable[..., Signals]:
    """Signals as the training step builds them: losses named a, b, c..., values 1 where absent."""

    def build(
        values: Sequence[float] | Tensor,
        gram: Sequence[Sequence[float]] | Tensor | None = None,
        present: Sequence[bool] | None = None,
        step: int = 0,
        epoch: int = 0,
        progress: float = 0.0,
        plateaus: int = 0,
    ) -> Signals:
        measured = torch.as_tensor(values, dtype=torch.float32)
        here = torch.ones(len(measured), dtype=torch.bool) if present is None else torch.tensor(present)
        if gram is not None:
            gram = torch.as_tensor(gram, dtype=torch.float32)
            gram = gram.where(here & here[:, None], gram.new_zeros(()))
        return Signals(
            names=tuple("abcdefghijklmnopqrstuvwxyz"[: len(measured)]),
            values=torch.where(here, measured, 1.0),
            present=here,
            step=step,
            epoch=epoch,
            progress=progress,
            plateaus=plateaus,
            measured_gram=gram,
        )

    return build


@pytest.fixture(scope="session")
def learn() -> Callable[[Weighting, Signals], Tensor]:
    """One optimiser step as training takes it: the weights, then the update where finite and present."""

    def step(weighting: Weighting, signals: Signals) -> Tensor:
        weights = weighting(signals)
        commit(weighting, lambda: weighting.update(signals), signals.finite(), signals.present)
        return weights

    return step

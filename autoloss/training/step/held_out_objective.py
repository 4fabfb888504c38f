"""What is to become lower on held-out data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.terms import Terms


def held_out_objective(scalars: Sequence[Tensor | None], terms: Terms, primary: Sequence[int]) -> Tensor:
    """The base-weighted sum of the ``primary`` ones of a held-out batch's losses, ``None`` where absent."""
    here = [terms.base[i] * scalar for i in primary if (scalar := scalars[i]) is not None]
    if not here:
        names = ", ".join(terms.names[i] for i in primary)
        raise ConfigError(f"A held-out batch must have one of the losses {names}, but it has none of them.")
    return torch.stack(here).sum(0)

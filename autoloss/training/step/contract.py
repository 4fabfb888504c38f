"""Checks that a weighting keeps its contract, when it is bound and at its first step; no check waits for the device."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery
from autoloss.core.weighting import Weighting

State = dict[str, tuple[int, int]]


class ContractError(ConfigError):
    """A weighting that breaks what every weighting must keep."""


def check_bound(weighting: Weighting) -> None:
    """Raise :class:`ContractError` if ``weighting`` has parameters; :class:`ConfigError` if it is around a surgery."""
    for part in weighting.modules():
        if isinstance(part, Surgery) and part is not weighting:
            raise ConfigError(
                f"A wrapper must have weights to change, but {weighting.title()!r} is around {part.title()!r}, "
                "which has none. Leave out the wrapper."
            )
    held = [name for name, _ in weighting.named_parameters()]
    if held:
        raise ContractError(
            f"A weighting must hold no parameters, but {weighting.title()!r} has {', '.join(held)}. The user's "
            "optimiser would take them: use add_state."
        )


def weights_of(weighting: Weighting, signals: Signals) -> Tensor:
    """The weights [K] that ``weighting`` gives for ``signals``, detached and in float32.

    Raises :class:`ContractError` unless there is one for each unit, and if the first call wrote state.
    """
    first = "_kept_contract" not in vars(weighting)
    before = _state(weighting) if first else {}
    weights = weighting(signals)
    if not isinstance(weights, Tensor) or weights.shape != signals.values.shape:
        found = list(weights.shape) if isinstance(weights, Tensor) else f"of type {type(weights).__name__}"
        raise ContractError(
            f"A weighting must give one weight for each loss, {list(signals.values.shape)} for "
            f"{', '.join(signals.names)}, but {weighting.title()!r} gave {found}."
        )
    if first:
        after = _state(weighting)
        written = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        if written:
            raise ContractError(
                f"forward must write no state, but that of weighting {weighting.title()!r} wrote {', '.join(written)}. "
                "Write it in update."
            )
        vars(weighting)["_kept_contract"] = True
    return weights.detach().float()


def _state(weighting: Weighting) -> State:
    """What changes with each write to a buffer: its identity, and torch's own count of its writes."""
    buffers = weighting.named_buffers()
    return {name: (id(one), 0 if one.is_inference() else one._version) for name, one in buffers}

"""Derivatives of all losses along one direction, by forward-mode differentiation."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from autoloss.core.errors import ConfigError
from autoloss.probe.lookahead import Moment
from autoloss.probe.shortcuts import Shortcuts

Losses = Callable[[], Sequence[Tensor | None]]


class Slopes:
    """Measures how fast losses change when the parameters of ``network`` move along a direction.

    One pass in forward mode gives this for all losses, or for all samples of all losses; no graph is kept. Where a
    loss has no forward derivative (custom functions without ``jvp``), central differences of two forwards are taken,
    with one warning. In forward mode attention uses the math kernel instead of flash attention, which drops out other
    weights: a caller that needs the same dropout as in the step must compare the losses and use :meth:`differences`.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = check_network(network)
        self.exact = True  # until a loss turns out to have no forward derivative

    def along(
        self, losses: Losses, at: Mapping[Tensor, Tensor], direction: Mapping[Tensor, Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """The ``losses`` at the parameters' values ``at``, and their derivatives along ``direction``.

        ``at`` and ``direction`` have a tensor for each parameter; one that ``direction`` lacks does not move. The
        results are tensors of any shape, or ``None`` for a loss that is absent. The derivatives have a graph to what
        else the losses are made of, if that requires a gradient (a number inside a loss), and none to the parameters.
        """
        if self.exact:
            moment = Moment.now(next(iter(direction)).device)
            try:
                return self._forward_mode(losses, at, direction)
            except (NotImplementedError, RuntimeError) as error:
                if not _unsupported(error):
                    raise
                moment.restore()
                self.give_up("A loss has no forward derivative", str(error).splitlines()[0][:200])
        return self.differences(losses, at, direction)

    def give_up(self, reason: str, details: str = "") -> None:
        """Use central differences from now on, and warn with the ``reason``."""
        self.exact = False
        warnings.warn(
            f"{reason}, so hypergradients are central differences from now on: two forwards, and less exact."
            + f" ({details})" * bool(details),
            stacklevel=3,
        )

    def _forward_mode(
        self, losses: Losses, at: Mapping[Tensor, Tensor], direction: Mapping[Tensor, Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        with forward_ad.dual_level():
            duals = {p: forward_ad.make_dual(at[p], direction[p].to(at[p].dtype)) for p in direction}
            with Shortcuts(), sdpa_kernel(SDPBackend.MATH):
                found = self._call(losses, {**at, **duals})
            pairs = [None if one is None else forward_ad.unpack_dual(one) for one in found]
            values = [None if pair is None else pair.primal.detach() for pair in pairs]
            slopes = [
                None if pair is None else torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
                for pair in pairs
            ]
            return values, slopes

    def differences(
        self, losses: Losses, at: Mapping[Tensor, Tensor], direction: Mapping[Tensor, Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """The same as :meth:`along` by central differences, with the kernels that the step had."""
        length, size = _norm(direction.values()), _norm(at[p] for p in direction)
        # At the cube root of the precision the errors of rounding and of curvature are about equal.
        step = torch.finfo(size.dtype).eps ** (1 / 3) * (1 + size) / length.clamp(min=torch.finfo(size.dtype).tiny)
        moment = Moment.now(length.device)
        before = self._call(losses, {**at, **{p: at[p] - step * v for p, v in direction.items()}})
        moment.restore()
        after = self._call(losses, {**at, **{p: at[p] + step * v for p, v in direction.items()}})
        pairs = [
            None if one is None or other is None else (one, other) for one, other in zip(before, after, strict=True)
        ]
        values = [None if pair is None else (pair[0] + pair[1]).detach() / 2 for pair in pairs]
        return values, [None if pair is None else (pair[1] - pair[0]) / (2 * step) for pair in pairs]

    def _call(self, losses: Losses, values: Mapping[Tensor, Tensor]) -> Sequence[Tensor | None]:
        with torch.enable_grad(), eager(), _with_parameters(self.network, values):
            return losses()


@contextmanager
def _with_parameters(network: nn.Module, values: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Within it the parameters of ``network`` are replaced by ``values``, or by constants where there is no value."""
    held = [
        (part._parameters, name, parameter)
        for part in network.modules()
        for name, parameter in part._parameters.items()
        if parameter is not None
    ]
    try:
        for parameters, name, parameter in held:
            value = values.get(parameter)
            parameters[name] = parameter.detach() if value is None else value  # type: ignore[assignment]
        yield
    finally:
        for parameters, name, parameter in held:
            parameters[name] = parameter


def bare(network: nn.Module) -> nn.Module:
    """``network`` without the wrappers that compile or replicate it: the module that holds the parameters."""
    while isinstance(network, DistributedDataParallel) or "_orig_mod" in network._modules:
        network = network.get_submodule("_orig_mod" if "_orig_mod" in network._modules else "module")
    return network


def check_network(network: nn.Module) -> nn.Module:
    """``network`` itself; raises :class:`ConfigError` if it cannot be called with other values for its parameters."""
    must = "A look-ahead needs a network that can be called with other parameters"
    for part in network.modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ConfigError(f"{must}, but it holds a {type(part).__name__}. Use the module that it was made from.")
        if type(part).__name__.startswith(("FullyShardedDataParallel", "FSDP")):
            raise ConfigError(f"{must}, but FSDP shards them. Train with DDP or on one device.")
    return network


@contextmanager
def eager() -> Iterator[None]:
    """Within it compiled code runs uncompiled: torch.compile does not support forward mode."""
    # Setting the stance imports the compiler, which takes seconds; where it is not loaded, nothing is compiled.
    with torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext():
        yield


def _norm(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]).norm()


def _unsupported(error: Exception) -> bool:
    text = str(error)
    return any(part in text for part in ("forward AD", "forward mode", "forward-mode", "jvp"))

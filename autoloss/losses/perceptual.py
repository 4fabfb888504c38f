"""A distance between a network's activations for two images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import ConfigError, require, unknown
from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import at_least_float32, same_shape

NORMS = ("l1", "l2")


class Perceptual(Loss):
    """The mean distance of a given network's activations at some layers: [B, ...] -> [B].

    ``mean_l mean |f_l(prediction) - f_l(target)|`` (or its square). The network is frozen: it gets no
    gradient, stays in evaluation mode, and passes gradients on to the prediction.

    Args:
        network: a module, or ``module:function`` that makes one, with its weights loaded. Scale images as it
            expects.
        layers: names of submodules (``features.3``) whose outputs are compared; the network's output if none is named.
        norm: ``l1`` or ``l2`` (squared).
        normalised: scale each position's channels to unit length first, as LPIPS does. LPIPS's learned
            channel weights are not here.
    """

    widened = False  # the network may be in half precision
    use = "Images that should look alike without being equal pixel by pixel."
    avoid = "The network was trained on very different images."
    outliers = "A wrong pixel counts by how much it changes the features: mostly little."
    imbalance = "It counts what the network was trained to see; textures often more than shapes."
    gradients = "Those of the network: they reach all pixels, and are noisy at single ones."
    citation = "Johnson, Alahi, Fei-Fei, ECCV 2016, arXiv:1603.08155; LPIPS: Zhang et al., CVPR 2018, arXiv:1801.03924"

    def __init__(
        self,
        network: str | nn.Module,
        layers: Sequence[str] = (),
        norm: str = "l1",
        normalised: bool = False,
    ) -> None:
        super().__init__()
        require(norm in NORMS, f"`norm` must be one of {', '.join(NORMS)}", f"norm={norm!r}")
        self.network = _frozen(network)
        known = dict(self.network.named_modules())
        for name in layers:
            if name not in known:
                raise unknown("layer", name, [one for one in known if one])
        self.layers, self.norm, self.normalised = tuple(layers), norm, normalised

    def train(self, mode: bool = True) -> Perceptual:
        """The network stays in evaluation mode whatever ``mode`` is."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        with torch.no_grad():
            wanted = self._activations(target)
        found = self._activations(prediction)
        return torch.stack([self._distance(f, w) for f, w in zip(found, wanted, strict=True)]).mean(0)

    def _distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        found, wanted = at_least_float32(found), at_least_float32(wanted)
        if self.normalised:
            found, wanted = nn.functional.normalize(found, dim=1), nn.functional.normalize(wanted, dim=1)
        difference = found - wanted
        return per_sample(difference.abs() if self.norm == "l1" else difference.square())

    def _activations(self, images: Tensor) -> list[Tensor]:
        if not self.layers:
            return [self.network(images)]
        seen: dict[str, Tensor] = {}
        hooks = [self.network.get_submodule(name).register_forward_hook(_keep(seen, name)) for name in self.layers]
        try:
            self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [seen[name] for name in self.layers]


def _keep(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[name] = output

    return hook


def _frozen(network: str | nn.Module) -> nn.Module:
    if isinstance(network, str):
        module, _, name = network.partition(":")
        try:
            network = getattr(import_module(module), name)()
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"`network` must be module:function that makes a network, but {network!r} does not load: {error}."
            ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"`network` must make a torch.nn.Module, but it made {type(network).__name__}.")
    return network.requires_grad_(False).eval()

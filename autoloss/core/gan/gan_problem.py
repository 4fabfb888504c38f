"""A problem with a generator and a discriminator, which train against each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from autoloss.core.problem import Outputs, Problem


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generator has made for one batch: ``samples`` [B, ...], and ``extra`` tensors for its losses."""

    samples: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def detached(self) -> Generated:
        """The same tensors without a graph."""
        return replace(self, samples=self.samples.detach(), extra={k: v.detach() for k, v in self.extra.items()})


class GanProblem(Problem):
    """Data, a generator (:meth:`network`), a discriminator, and the losses of each.

    ``terms`` are the generator's losses and ``discriminator_terms`` the discriminator's. In the outputs for a player,
    an adversarial loss takes a :class:`~autoloss.core.problem.Verdict`, a penalty on the discriminator's input
    gradient takes :class:`~autoloss.core.problem.Inputs`, and feature matching may take
    :class:`~autoloss.core.problem.Layers`. An adversarial loss that both players have under one name is chosen once,
    by ``losses.<name>``.
    """

    module: ClassVar[str] = "gan"
    discriminator_terms: Mapping[str, str | None] = {}

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """A new discriminator with fresh parameters."""

    @abstractmethod
    def generate(self, network: nn.Module, batch: Any) -> Generated:
        """As many samples as ``batch`` has; random numbers come from torch's global generator."""

    @abstractmethod
    def generator_outputs(
        self, network: nn.Module, discriminator: nn.Module, generated: Generated, batch: Any
    ) -> Outputs:
        """The generator's terms. The discriminator is frozen here.

        The anchor is where the losses' gradients are compared: the samples, or the weight of the last layer.
        """

    @abstractmethod
    def discriminator_outputs(self, discriminator: nn.Module, generated: Generated, batch: Any) -> Outputs:
        """The discriminator's terms; ``generated`` has no graph here."""

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        """The outputs of one batch for :meth:`measure`; none by default."""
        return Outputs({})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """The metrics that are means over samples; none by default."""
        return {}

    def evaluate(self, network: nn.Module, real: Any) -> Mapping[str, float]:
        """Metrics of many samples at once (a Frechet distance), against the dataset ``real``; none by default.

        It is called after each validation, on every rank, with its own random numbers, the same each time.
        """
        return {}

    def gallery(self, network: nn.Module) -> Tensor | None:
        """Samples for a picture, [rows, columns, H, W] or [rows, columns, 3, H, W] in [0, 1]; none by default."""
        return None

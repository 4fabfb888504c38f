"""A problem with two networks that play against each other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from autoloss.core.problem import Outputs, Problem


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generator made of one batch: ``samples`` [B, ...], and whatever else its losses want."""

    samples: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def detached(self) -> Generated:
        """The same without a graph."""
        return replace(self, samples=self.samples.detach(), extra={k: v.detach() for k, v in self.extra.items()})


class GanProblem(Problem):
    """Data, a generator (:meth:`network`), a discriminator, and the losses of each.

    ``terms`` are the generator's losses and ``discriminator_terms`` the discriminator's. In the
    outputs of either side an adversarial loss takes a :class:`~autoloss.core.problem.Verdict`, a
    penalty on the discriminator's slope :class:`~autoloss.core.problem.Inputs`, and feature
    matching may take :class:`~autoloss.core.problem.Layers`. A loss that both sides have under one
    name is one game: it is chosen once, by ``losses.<name>``.
    """

    module: ClassVar[str] = "gan"
    discriminator_terms: Mapping[str, str | None] = {}

    @abstractmethod
    def discriminator(self) -> nn.Module:
        """A new discriminator with fresh parameters."""

    @abstractmethod
    def generate(self, network: nn.Module, batch: Any) -> Generated:
        """Samples for ``batch``, as many as it has; random numbers come from torch's generator."""

    @abstractmethod
    def generator_outputs(
        self, network: nn.Module, discriminator: nn.Module, generated: Generated, batch: Any
    ) -> Outputs:
        """What the generator's losses compare. The discriminator is frozen here.

        The anchor is where the losses' gradients are compared: the samples, or the last layer's weight.
        """

    @abstractmethod
    def discriminator_outputs(self, discriminator: nn.Module, generated: Generated, batch: Any) -> Outputs:
        """What the discriminator's losses compare; ``generated`` carries no gradients here."""

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        """What :meth:`measure` looks at, batch by batch; nothing by default."""
        return Outputs({})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """The metrics that are means over samples; none by default."""
        return {}

    def evaluate(self, network: nn.Module, real: Any) -> Mapping[str, float]:
        """The metrics of many samples at once (a Frechet distance) against the dataset ``real``; none by default.

        Called after each validation, on every rank, with random numbers of its own that are the same each time.
        """
        return {}

    def gallery(self, network: nn.Module) -> Tensor | None:
        """Samples to look at, [rows, columns, H, W] or [rows, columns, 3, H, W] in [0, 1]; none by default."""
        return None

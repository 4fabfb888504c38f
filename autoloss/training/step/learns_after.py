"""What a player learns after a step: from the step's outcome, on its own losses or on held-out data."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.measured.signal import StepOutcome
from autoloss.core.need import HELD_OUT_DATA, OUTCOME, Need, SampleNeed
from autoloss.core.signals import AFTER_STEP
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.training.step.constraints import Constraints
from autoloss.training.step.loss_numbers import LossNumbers
from autoloss.training.step.notes import Notes
from autoloss.training.step.sample_weights import SampleWeights
from autoloss.training.step.unbalanced_units import UnbalancedUnits
from autoloss.training.step.window import Window


class LearnsAfter(UnbalancedUnits):
    """A player's part that learns after a step: its ``weighting``, ``samples``, ``numbers`` and ``constraints``."""

    weighting: Weighting
    samples: SampleWeights | None
    window: Window
    numbers: LossNumbers | None
    constraints: Constraints | None
    terms: Terms
    notes: Notes
    _learns_after: bool

    @property
    def learns_after(self) -> Need:
        """What is needed after steps."""
        needs = self.weighting.needs & OUTCOME
        return needs if self.numbers is None else needs | Need.ALIGNMENT

    def looks_ahead(self, step: int) -> Need:
        """What is to be known of this optimiser step after it, by :meth:`observe`."""
        if self.numbers is not None:
            return self.weighting.needs_at(step) & OUTCOME | Need.ALIGNMENT
        return self.weighting.needs_at(step) & OUTCOME if self._learns_after else Need(0)

    @property
    def foresees(self) -> bool:
        """Whether the sample weighting needs the effect of each sample on held-out data."""
        return self.samples is not None and SampleNeed.ALIGNMENT in self.samples.needs

    @property
    def learner(self) -> str:
        """What learns after steps, in words."""
        if self.numbers is not None and not self.weighting.needs & OUTCOME:
            return f"Learned number {self.numbers.names[0]}"
        return f"Weighting {self.weighting.title()!r}"

    def observe(self, step: int, outcome: StepOutcome) -> None:
        """Measure what is to be known of optimiser step ``step``, on its ``outcome``."""
        needs = self.looks_ahead(step)
        for signal in AFTER_STEP:
            if signal.need in needs:
                self.window.observe(signal, signal.measure(outcome))

    def forget(self) -> None:
        """Drop the window, because the optimiser made no step."""
        self.window = Window([])
        if self.numbers is not None:
            self.numbers.forget()

    def follow(self, progress: float) -> None:
        """Set the base weights that have a schedule or a learned factor, and note what else is learned."""
        self.terms.follow(progress)
        if self.numbers is not None:
            self.notes.scalars |= self.numbers.columns
        if self.constraints is not None:
            factors, columns = self.constraints.now()
            self.terms.multiply(factors)
            self.notes.scalars |= columns

    def learn_numbers(self, window: Window, stepped: Tensor | None) -> None:
        """Let learned numbers and multipliers learn from the step of ``window``, if the optimiser ``stepped``."""
        if self.numbers is not None:
            self.numbers.learn(stepped)
        if self.constraints is not None and (losses := window.losses()) is not None:
            self.constraints.see_losses(*losses, stepped)

    def see_metrics(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Let the multipliers of bounds on metrics learn from a validation's ``metrics``, by name."""
        if self.constraints is not None:
            self.constraints.see_metrics(metrics)


def incomplete_look_ahead(player: LearnsAfter, needs: Need) -> ConfigError:
    """The error for a look-ahead that lacks what ``player`` ``needs`` after the step, or its sample weighting."""
    who = player.learner if needs & HELD_OUT_DATA else f"Weighting {player.samples and player.samples.title!r}"
    aligns = Need.ALIGNMENT in needs
    return ConfigError(
        f"{who} needs {'the optimizer and ' * aligns}held-out losses, but the look-ahead lacks "
        "one. Write balancer.lookahead(network, optimizer, train=losses_of, held_out=losses_of_held_out)."
    )

"""The length of a training, for Lightning modules."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.trainer.states import TrainerFn


class KnowsLength:
    """A Lightning module that knows how many windows of accumulated batches its whole training has."""

    trainer: Any
    _length: float = 0
    _counted: tuple[Any, ...] | None = None

    @property
    def length(self) -> float:
        """The number of windows; 0 if it is not known.

        The number is kept after the training: while the Trainer only validates, Lightning's own number is wrong.
        """
        trainer = self.trainer
        # Lightning's number is a function of these. It takes longer to compute, and each step asks for it.
        of = trainer.num_training_batches, trainer.accumulate_grad_batches, trainer.max_epochs, trainer.max_steps
        if of != self._counted and trainer.state.fn == TrainerFn.FITTING:
            found = trainer.estimated_stepping_batches
            self._length = found if 0 < found < float("inf") else 0
            # It may have loaded the data to count them.
            self._counted = (trainer.num_training_batches, *of[1:])
        return self._length

    @property
    def unknown(self) -> frozenset[str]:
        """What of the clock is not known: "progress" without a length."""
        return frozenset() if self._length else frozenset({"progress"})

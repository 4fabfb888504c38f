"""How long a training is, for Lightning modules."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.trainer.states import TrainerFn


class KnowsLength:
    """A Lightning module that knows how many batches of accumulated gradients its whole training has."""

    trainer: Any
    _length: float = 0

    @property
    def length(self) -> float:
        """That number; 0 where it is not known.

        Also after the training: when it only validates, Lightning would count the batches of one that there is no more.
        """
        if self.trainer.state.fn == TrainerFn.FITTING:
            found = self.trainer.estimated_stepping_batches
            self._length = found if 0 < found < float("inf") else 0
        return self._length

"""The Lightning module of a student and its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from autoloss import Loss, MultiTaskModule, Outputs, Problem, Term, Weighting


class MeanTeacherModule(MultiTaskModule):
    """A multi-task module with one more term, which compares the student's predictions with those of its teacher.

    The teacher is the exponential moving average of the student's parameters, and it is the network that is evaluated.
    Both get the same batch, each with its own random numbers (dropout, noise in ``problem.outputs``). The other
    arguments are those of :class:`autoloss.MultiTaskModule`.

    Args:
        decay: the decay of the average, in [0, 1).
        term: the term whose predictions are compared.
        consistency: the term that compares them; ``problem.outputs`` does not return it, this module adds it.
    """

    def __init__(
        self,
        problem: Problem,
        losses: Mapping[str, Loss],
        weighting: Weighting,
        optimizer: Any,
        *,
        decay: float = 0.99,
        term: str = "label",
        consistency: str = "consistency",
        **others: Any,
    ) -> None:
        super().__init__(problem, losses, weighting, optimizer, **others)
        average = get_ema_multi_avg_fn(decay)
        self.teacher = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.term, self.consistency = term, consistency

    @property
    def evaluated(self) -> nn.Module:
        """The network that validation and test measure: the teacher."""
        return self.teacher.module

    def outputs(self, batch: Any) -> Outputs:
        """The student's outputs for ``batch``, and the consistency term with the teacher's prediction as target."""
        outputs = super().outputs(batch)
        with torch.no_grad():
            target = self.problem.outputs(self.teacher.module, batch).term(self.term).prediction
        agreement = Term(outputs.term(self.term).prediction, target)
        return replace(outputs, terms={**outputs.terms, self.consistency: agreement})

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make an optimiser step, and then update the teacher."""
        super().optimizer_step(*args, **kwargs)
        self.teacher.update_parameters(self.network)

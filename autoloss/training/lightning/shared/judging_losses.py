"""The losses that held-out data is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import ConfigError, check_known
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.training.step.build import build_loss
from autoloss.training.step.loss_numbers import learned_numbers


def judging(losses: Mapping[str, Loss], problem: Problem, named: Mapping[str, Any]) -> dict[str, Loss]:
    """The loss of each term on held-out data: the ``named`` one, or that which is trained with.

    A number inside its own objective would only make it smaller. So a loss of the ``losses`` with learned numbers is
    judged by the problem's own: the one of its ``judges``, or that of its ``terms`` with its default numbers.
    """
    check_known("loss of held_out.losses", named, problem.terms)
    found = dict(losses)
    for term, loss in losses.items():
        own = problem.judges.get(term, problem.terms.get(term))
        given = named.get(term) or (own if learned_numbers({term: loss}) else None)
        if given is None:
            continue
        found[term] = build_loss(given)
        if found[term] is not loss and learned_numbers({term: found[term]}):
            raise ConfigError(f"held_out.losses.{term} must have fixed numbers, but one is learned. Give it a number.")
        for part in found[term].modules():
            if isinstance(part, Loss):
                part.notices.term = term
    return found

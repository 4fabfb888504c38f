"""The conformance suite of weightings."""

from __future__ import annotations

from autoloss.testing.absences import AbsenceChecks
from autoloss.testing.answers import AnswerChecks
from autoloss.testing.claims import ClaimChecks
from autoloss.testing.precisions import PrecisionChecks
from autoloss.testing.states import StateChecks


class WeightingSuite(AnswerChecks, StateChecks, AbsenceChecks, ClaimChecks, PrecisionChecks):
    """Everything that training expects of a weighting, each as a test of its own.

    Subclass it in a test file; pytest finds the tests of every class that is called ``Test...``::

        class TestMine(WeightingSuite):
            def weighting(self):
                return Mine(alpha=1.0)

    ``weighting = Mine`` is enough where the defaults suit. If parameters name losses, set ``names``.
    A claim that is not made is skipped; the claims are those of
    :data:`autoloss.core.weighting.CLAIMS`.
    """

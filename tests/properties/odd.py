"""What the property tests draw from, and how hard they try."""

import math
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

from autoloss.core.errors import AutolossError

REQUIRED: dict[str, dict[str, Any]] = {
    "combined": {"losses": ["mse", "mae"]},
    "gradient_cosine": {"main": "a"},
    "ol_aux": {"main": ["a"]},
    "vqgan": {"adversarial": "a"},
}
FINITE = (0.0, 1.0, -1.0, 0.3, 1e-40, 1e-20, 1e-8, 1e4, 1e10, 1e30, -1e30)
ODD = (*FINITE, math.inf, -math.inf, math.nan)
# The same examples everywhere, and no explanations, which take longer than the tests.
QUICK = settings(
    phases=[Phase.generate, Phase.shrink],
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
THOROUGH = settings(QUICK, max_examples=300)


def refusal(make: Callable[[], Any]) -> tuple[Any, bool]:
    """What ``make`` gives, and whether it refused in a sentence instead; any other error is a defect."""
    refused = None
    try:
        return make(), False
    except AutolossError as error:
        refused = error
    assert str(refused).rstrip().endswith((".", "?")), refused
    return None, True

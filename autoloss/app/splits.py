"""Says which splits of its data a problem has, before anything is trained on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import AutolossError, ConfigError
from autoloss.core.problem import Problem
from autoloss.training.lightning.shared.rng import restore_rng, rng_state

TEST = "test"
_found: dict[tuple[type[Problem], str], bool] = {}


def has_test(config: Mapping[str, Any], problem: Problem) -> bool:
    """Whether ``problem`` has a test split. The data of a problem are made for it once, whatever else is varied."""
    key = (type(problem), json.dumps(config["problem"], sort_keys=True, default=str))
    if key not in _found:
        before = rng_state()
        try:
            _found[key] = TEST in problem.datasets(config["seed"])
        except AutolossError:
            raise
        except Exception:
            return True  # training raises this error again, and records it
        finally:
            restore_rng(before)
    return _found[key]


def check_test(config: Mapping[str, Any], problem: Problem) -> None:
    """Raise :class:`ConfigError` if the test split is to be measured, but there is none."""
    if config["test"] and not has_test(config, problem):
        raise ConfigError("test=true needs a test split, but datasets() gives none. Leave it out.")

"""The mistakes of the page on experiments, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable

from tests.plugins.mistakes.making import asked

EXPERIMENTS = {
    "mistyped": "# @package _global_\ndefaults:\n  - override /weighting: my_unit_norm\nweighting:\n  decya: 0.5\n",
    "missing": "# @package _global_\ndefaults:\n  - override /weighting: my_unit_nrom\n",
    "unplaced": "weighting:\n  decay: 0.5\n",
}


MISTAKES: list[Callable[[], object]] = [
    asked("experiment=my_curve"),
    asked("experiment=mistyped"),
    asked("experiment=missing"),
    asked("experiment=unplaced", "weighting=my_unit_norm"),
]

"""Schedule files: the weights of a run over progress, which ``autoloss distill`` writes."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import write_text
from autoloss.core.io.yaml_file import read_yaml
from autoloss.core.schedules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Curves:
    """A weight for each loss at each of the points ``progress``, which rise from 0 to 1; linear between the points.

    >>> Curves((0.0, 1.0), {"kl": (0.0, 2.0)}).schedule("kl")(0.25)
    0.5
    """

    progress: tuple[float, ...]
    weights: Mapping[str, tuple[float, ...]]

    def schedule(self, name: str) -> Schedule:
        """The weight of loss ``name`` as a function of progress."""
        xs, ys = self.progress, self.weights[name]

        def at(progress: float) -> float:
            i = bisect_right(xs, progress)
            if i in (0, len(xs)):
                return ys[min(i, len(xs) - 1)]
            share = (progress - xs[i - 1]) / (xs[i] - xs[i - 1])
            return ys[i - 1] + share * (ys[i] - ys[i - 1])

        return at

    def write(self, path: Path, comment: str) -> None:
        """Write a YAML file, with ``comment`` as its first line."""
        rows = [f"# {comment}", f"progress: {_numbers(self.progress)}", "weights:"]
        rows += [f"  {json.dumps(name)}: {_numbers(values)}" for name, values in self.weights.items()]
        write_text(path, "\n".join(rows) + "\n")


def read_curves(path: str | Path) -> Curves:
    """The curves in the YAML file ``path``; raises :class:`ConfigError` if it is not a schedule file."""
    must = "A schedule file must be YAML with `progress` and `weights`"
    if not Path(path).is_file():
        raise ConfigError(f"A schedule file must exist, but there is no file {str(path)!r}.")
    try:
        content = read_yaml(Path(path))
    except ConfigError as error:
        raise ConfigError(f"{must}. {error}") from error
    made = isinstance(content, Mapping) and isinstance(content.get("weights"), Mapping)
    require(made, must, f"{str(path)!r} has other keys", "autoloss distill RUN_DIR writes one.")
    progress = _floats(content.get("progress"), path, "progress")
    rises = len(progress) > 0 and all(a < b for a, b in pairwise(progress))
    require(rises, "The progress of a schedule file must rise", f"that of {str(path)!r} does not")
    weights = {str(name): _floats(values, path, str(name)) for name, values in content["weights"].items()}
    for name, values in weights.items():
        good = len(values) == len(progress) and min(values) >= 0
        require(
            good, f"A curve must be {len(progress)} weights, none negative", f"{name!r} of {str(path)!r} is not that"
        )
    require(bool(weights), "A schedule file must have curves", f"{str(path)!r} has none")
    return Curves(progress, weights)


def _floats(values: Any, path: str | Path, name: str) -> tuple[float, ...]:
    good = isinstance(values, Sequence) and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    require(good, "A schedule file's curves must be lists of numbers", f"{name!r} of {str(path)!r} is not")
    return tuple(float(v) for v in values)


def _numbers(values: Sequence[float]) -> str:
    texts = (f"{value:.6g}" for value in values)
    # YAML reads 1e-07 as a string, and 1.0e-07 as a number.
    return "[" + ", ".join(t if "e" not in t or "." in t else t.replace("e", ".0e") for t in texts) + "]"

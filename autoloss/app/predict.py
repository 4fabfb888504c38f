"""``autoloss predict``: the predictions of a trained model for the rows of a CSV file."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.app.arguments import Parser
from autoloss.app.screen import say, shown
from autoloss.core.errors import ConfigError, require
from autoloss.core.io.csv_cells import escaped
from autoloss.core.io.files import write_text

KEYS = ("out", "trust")


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit code is 0, or 2 for a user's mistake."""
    parser = Parser("predict")
    parser.add_argument("model", metavar="DIR", type=Path, help="the directory of a search or a run")
    parser.add_argument("samples", metavar="NEW.csv", type=Path, help="the rows to predict")
    parser.add_settings("out=FILE; trust=my_module:MyProblem: an import path that the model may import")
    options = parser.parse_args(arguments)
    settings = dict(options.settings)
    strange = next((key for key in settings if key not in KEYS), "")
    require(not strange, "A prediction has only the keys out and trust", f"{strange!r} was given", "See --help.")
    out = Path(str(settings.get("out", options.samples.with_name("predictions.csv")))).expanduser()
    return _predict(options.model, options.samples, out, str(settings.get("trust", "")))


def _predict(directory: Path, samples: Path, out: Path, trust: str) -> int:
    require(samples.is_file(), "The rows to predict must be in a CSV file", f"there is no file {str(samples)!r}")
    same = out.exists() and out.samefile(samples)
    require(not same, "Predictions must not replace the rows", f"out={str(out)!r} is that file", "Name another one.")
    from autoloss.training.saved_model import load

    model = load(directory, [one for one in trust.split(",") if one])
    if model.problem is not None and not model.problem.reads_files:
        raise ConfigError(
            f"autoloss predict needs a problem that predicts the rows of a file, but {model.problem.title()!r} reads "
            "none. Call autoloss.load(DIR).predict(samples) in Python, or set `reads_files = True` in its class."
        )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        found = model.predict(samples)
    columns = found if isinstance(found, Mapping) else {}
    if not columns or len({len(of) for of in columns.values()}) != 1:
        raise ConfigError(
            "autoloss predict needs a problem whose predict() gives a list for each column, but that of "
            f"{type(model.problem).__name__} gives {type(found).__name__}. Call autoloss.load(DIR).predict(samples) in "
            "Python."
        )
    try:
        write_text(out, _csv(columns))
    except OSError as error:
        raise ConfigError(
            f"Predictions are written to a file, but {str(out)!r} cannot be: {error.strerror or error}. Set out=FILE."
        ) from error
    for one in told:
        say(f"autoloss: {one.message}", error=True)
    rows = len(next(iter(columns.values())))
    say(f"predictions of {rows} row{'s' if rows != 1 else ''}: {shown(out)}")
    return 0


def _csv(columns: Mapping[str, Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(escaped, columns))
    for row in zip(*columns.values(), strict=True):
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else escaped(cell) for cell in row])
    return out.getvalue()

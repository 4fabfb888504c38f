"""Adult as a benchmark problem: `problem=adult:Adult` from this folder.

Three binary tasks from one trunk, on the files of the UCI repository (Becker and Kohavi, 1996): income above 50K,
never married, 13 years of education or more. The columns that contain these are no inputs. The official test
rows are the test split; validation is a fifth of the training file.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from autoloss import ConfigError
from autoloss.problems.tabular import Tabular

COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
)
TARGETS = ("rich", "single", "educated")
TRAIN, VAL = 32561, 6512


class Adult(Tabular):
    """Predicts three binary columns of the census.

    Args:
        data: the directory of ``adult.data`` and ``adult.test``, plain or compressed.
    """

    recipe = {"optimizer": {"lr": 0.002}, "batch_size": 256, "threads": 1, "trainer": {"max_epochs": 8}}
    use = "Three losses of similar scale on real data."
    citation = "Becker, Kohavi: Adult, UCI Machine Learning Repository, 1996"

    def __init__(self, data: str = "data/adult") -> None:
        rows = [*_rows(Path(data), "adult.data"), *_rows(Path(data), "adult.test")]
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "adult.csv"
            with path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow([*COLUMNS, *TARGETS])
                writer.writerows([*row, *_labels(row)] for row in rows)
            super().__init__(
                str(path),
                targets=TARGETS,
                ignore=["education", "education-num", "marital-status", "income"],
                kinds=dict.fromkeys(TARGETS, "binary"),
            )

    def split(self, rows: Tensor, val: float, test: float, seed: int) -> dict[str, Tensor]:
        """The official test rows, and a fifth of the others for validation."""
        order = torch.randperm(TRAIN, generator=torch.Generator().manual_seed(seed))
        return {"train": order[VAL:], "val": order[:VAL], "test": rows[rows >= TRAIN]}


def _labels(row: list[str]) -> list[str]:
    cells = dict(zip(COLUMNS, row, strict=True))
    return [
        "yes" if holds else "no"
        for holds in (
            cells["income"].startswith(">50K"),
            cells["marital-status"] == "Never-married",
            int(cells["education-num"]) >= 13,
        )
    ]


def _rows(directory: Path, name: str) -> list[list[str]]:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
            # The test file begins with a comment.
            return [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.count(",") > 10]
    raise ConfigError(
        f"problem.data must hold adult.data and adult.test, but {directory / name} is not there. Put both in it."
    )

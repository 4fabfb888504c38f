"""Three tables of scikit-learn as CSV files, each with several columns to predict."""

from __future__ import annotations

import csv
from pathlib import Path

TARGETS = {
    "diabetes": ("target", "bmi", "sex"),
    "wine": ("target", "alcohol", "hue", "proline"),
    "breast_cancer": ("target", "mean symmetry", "mean texture", "worst concavity"),
}


def write(directory: Path) -> None:
    """Write ``NAME.csv`` for each table; a class is its name, and diabetes' sex is a word."""
    from sklearn import datasets

    for name in TARGETS:
        found = getattr(datasets, f"load_{name}")()
        classes = getattr(found, "target_names", None)
        with (directory / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*found.feature_names, "target"])
            for row, target in zip(found.data.tolist(), found.target.tolist(), strict=True):
                cells = [("a" if x > 0 else "b") if key == "sex" else x for key, x in zip(found.feature_names, row)]  # noqa: B905
                writer.writerow([*cells, target if classes is None else classes[target]])

"""Tables of people as a CSV file has them: columns of numbers, one of words, three targets; and the tensors of a split."""

import random

import torch

HEADER = ["age", "hours", "city", "income", "grade", "left"]
TARGETS = ["income", "grade", "left"]


def table(count=120, missing=0.0, seed=0):
    """Rows of text; ``missing`` is the share of cells that are emptied, labels and inputs alike."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        age, hours, city = draw.gauss(40, 10), draw.gauss(35, 8), draw.choice(["Oslo", "Paris", "Rome"])
        income = 100 * age + 50 * hours + 300 * len(city)
        row = [f"{age:.2f}", f"{hours:.2f}", city, f"{income:.1f}", ["low", "mid", "high"][int(income // 900) % 3]]
        row.append("yes" if age > 40 else "no")
        rows.append([draw.choice(["", "NA", " nan"]) if draw.random() < missing else cell for cell in row])
    return rows


def tables(problem, split="train"):
    return problem.datasets(0)[split].columns


def same(one, other):
    """Whether two problems have the same data, bit for bit."""
    return all(
        torch.equal(tables(one, split)[name], column)
        for split in ("train", "val", "test")
        for name, column in tables(other, split).items()
    )
